"""Prepares a process that runs tests, before TensorFlow has any device."""

import gc
import importlib.util


def pytest_configure(config):
  # The process that only hands tests to workers needs no TensorFlow.
  runs_tests = hasattr(config, "workerinput") or not config.getoption(
    "numprocesses"
  )
  if runs_tests and importlib.util.find_spec("tensorflow"):
    import tests.replicas  # noqa: F401  Splits the CPU into two devices.

    # The garbage collector goes through all that is imported again and again:
    # a thirtieth of the suite's time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
