"""Splits the CPU before any test initializes TensorFlow's devices."""


def pytest_configure(config):
  # The process that only hands tests to workers needs no TensorFlow.
  if hasattr(config, "workerinput") or not config.getoption("numprocesses"):
    import tests.replicas  # noqa: F401
