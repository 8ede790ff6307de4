"""Splits the CPU before any test initializes TensorFlow's devices."""

import importlib.util


def pytest_configure(config):
  # The process that only hands tests to workers needs no TensorFlow.
  runs_tests = hasattr(config, "workerinput") or not config.getoption(
    "numprocesses"
  )
  if runs_tests and importlib.util.find_spec("tensorflow"):
    import tests.replicas  # noqa: F401
