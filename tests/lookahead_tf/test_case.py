"""What the tests of the optimizer share with one another as test cases."""

import os
import tempfile

import tensorflow as tf
from absl.testing import parameterized

from tests.lookahead_tf.small_model import values


class TestCase(tf.test.TestCase, parameterized.TestCase):
  def new_path(self, name=""):
    """Returns a path in a folder that is new and empty."""
    return os.path.join(tempfile.mkdtemp(dir=self.get_temp_dir()), name)

  def assertSame(self, found, expected):
    """Compares lists of variables or arrays bit for bit."""
    self.assertLen(found, len(expected))
    for a, b in zip(values(found), values(expected)):
      self.assertAllEqual(a, b)

  def assertNear(self, found, expected, tolerance=1e-6):
    """Compares lists of variables or arrays, absolutely and relatively."""
    self.assertAllClose(values(found), values(expected), tolerance, tolerance)

  def assertCopiesAgree(self, strategy, variables):
    """Each replica of `strategy` has the same copy of each variable."""
    for variable in variables:
      first, *others = strategy.experimental_local_results(variable.value)
      for other in others:
        self.assertAllEqual(first, other)
