"""Splits the CPU before any test initializes TensorFlow's devices."""

import tests.replicas  # noqa: F401
