import os
from unittest import mock

import tensorflow as tf
from absl import flags
from absl.testing import parameterized

from trainers import paths
from trainers.errors import UserError


class PathsTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    ("runs/exp[lr=0.1]", "[ and ]"),
    ("runs/exp[1/a", "["),
    ("gs://bucket/exp]", "]"),
    ("exp*", "*"),
    ("exp?", "?"),
    ("exp\\1", "\\"),
  )
  def test_patterns_are_refused_with_what_is_wrong(self, path, characters):
    with self.assertRaises(UserError) as raised:
      paths.check_no_pattern(data_dir=None, workdir=path)
    self.assertStartsWith(
      str(raised.exception),
      f"--workdir={path} must be a path without {characters}: ",
    )

  @parameterized.parameters(None, "", "runs/a b/", "{a,b}", "~", "../a", "a=1")
  def test_others_are_not(self, path):
    paths.check_no_pattern(workdir=path)

  @mock.patch.dict(os.environ, HOME="/home/me")
  def test_home(self):
    values = flags.FlagValues()
    holder = flags.DEFINE(
      paths.PathParser(), "place", "~/default", "Help.", flag_values=values
    )
    for argument, path in (
      ([], "/home/me/default"),
      (["--place=~"], "/home/me"),
      (["--place", "~/a b/"], "/home/me/a b/"),
      (["--place=./~"], "./~"),
      (["--place=a/~/b~"], "a/~/b~"),
      (["--place=gs://a/~"], "gs://a/~"),
    ):
      values.unparse_flags()
      values(["program", *argument])
      self.assertEqual(holder.value, path)


if __name__ == "__main__":
  tf.test.main()
