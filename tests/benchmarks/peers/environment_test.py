import os
import pathlib
import subprocess
import sys
from unittest import mock

import tensorflow as tf
from absl import flags
from absl.testing import flagsaver

from benchmarks.peers import environment


class EnvironmentTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    if not flags.FLAGS.is_parsed():  # By pytest they are not.
      flags.FLAGS.mark_as_parsed()
    folder = pathlib.Path(self.get_temp_dir()) / self.id()
    self.enter_context(mock.patch.dict(os.environ, XDG_CACHE_HOME=str(folder)))
    self.create = self.enter_context(
      mock.patch.object(
        environment.venv,
        "create",
        side_effect=lambda path, with_pip: os.makedirs(path, exist_ok=True),
      )
    )
    self.run = self.enter_context(
      mock.patch.object(environment.subprocess, "run")
    )

  def test_installs_once_for_each_list_of_requirements(self):
    with flagsaver.flagsaver(peers=True):
      python = environment.interpreter()
      self.assertEqual(environment.interpreter(), python)
      self.assertEqual(self.run.call_count, 1)
      self.assertEqual(str(self.run.call_args.args[0][0]), python)
      requirements = pathlib.Path(self.get_temp_dir()) / "requirements.txt"
      requirements.write_text("other==1\n")
      with mock.patch.object(environment, "_REQUIREMENTS", requirements):
        self.assertNotEqual(environment.interpreter(), python)
    self.assertEqual(self.run.call_count, 2)

  def test_a_failed_installation_is_tried_again(self):
    self.run.side_effect = subprocess.CalledProcessError(1, "pip")
    with (
      flagsaver.flagsaver(peers=True),
      self.assertRaisesRegex(SystemExit, "--peers: .* exit status 1"),
    ):
      environment.interpreter()
    self.run.side_effect = None
    with flagsaver.flagsaver(peers=True):
      environment.interpreter()
    self.assertEqual(self.run.call_count, 2)

  def test_no_installation_without_the_flag_or_with_an_interpreter(self):
    self.assertIsNone(environment.interpreter())
    with flagsaver.flagsaver(peers=True, peers_python=sys.executable):
      self.assertEqual(environment.interpreter(), sys.executable)
    self.create.assert_not_called()
    with self.assertRaisesRegex(flags.IllegalFlagValueError, "peers_python"):
      flags.FLAGS.peers_python = "/no/such/python"


if __name__ == "__main__":
  tf.test.main()
