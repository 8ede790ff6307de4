"""What is done with a trained run: translate, export, choose weights."""

import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests.docs import pages
from tests.trainers.translation import small_run
from trainers import trained as shared
from trainers.checkpoints import Checkpoints
from trainers.devices import Runtime
from trainers.errors import UserError
from trainers.translation import (
  experiment,
  export,
  train,
  trained,
  translate,
)

_PAGE = pages.ROOT / "docs" / "translation.md"
# Serves a saved model without anything of ours.
_SERVE = """
import sys
import tensorflow as tf
import tensorflow_text
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
for sentences in (sys.argv[2:], sys.argv[2:3], []):
  given = serve(sentences=tf.constant(sentences, tf.string))["translations"]
  print(len(given), flush=True)
  for translation in given.numpy():
    print(translation.decode())
assert not any(name.startswith("trainers") for name in sys.modules)
"""
_SENTENCES = [
  "3 hours",
  "",
  "May 5, 1999",
  "1 2 3 4 5 6 7 8 9 0 " * 9,
  "Monday",
]


class TrainedTest(tf.test.TestCase, parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    root = cls.get_temp_dir(cls())
    small_run.write_text(os.path.join(root, "text"))
    cls.config = small_run.config(keep_checkpoints=3, average_checkpoints=2)
    cls.run_ = Runtime(
      tf.distribute.OneDeviceStrategy("CPU:0"),
      os.path.join(root, "run"),
      os.path.join(root, "text"),
    )
    train.train(experiment.load(cls.config, cls.run_), cls.run_)

  def _path(self, name):
    directory = os.path.join(self.get_temp_dir(), self.id().split()[0])
    os.makedirs(directory, exist_ok=True)
    return os.path.join(directory, name)

  def _translate(self, text, input_path=None, output=None, run=None):
    with open(self._path("input"), "wb") as file:
      file.write(text)
    output = output or self._path("output")
    translate.translate(
      run or self.run_, input_path or self._path("input"), output
    )
    with open(output) as file:
      return file.read()

  def test_lines_keep_their_order_and_empty_ones_stay_empty(self):
    text = "".join(f"{sentence}\n" for sentence in _SENTENCES)
    with self.assertWarnsRegex(UserWarning, "1 of 5 sentences have more than"):
      lines = self._translate(text.encode()).split("\n")
    self.assertLen(lines, 6)
    self.assertEqual([lines[1], lines[5]], ["", ""])
    for line, sentence in zip(lines, _SENTENCES):
      alone = self._translate(f"{sentence}\n".encode())
      self.assertEqual(alone, f"{line}\n")

  def test_a_saved_model_serves_without_this_package(self):
    directory = os.path.join(self._path("serving"), "phrases", "1")
    export.export(self.run_, f"{directory}/")
    served = subprocess.run(
      [sys.executable, "-c", _SERVE, directory, *_SENTENCES],
      capture_output=True,
      text=True,
      cwd=self.get_temp_dir(),
    )
    self.assertEqual(served.returncode, 0, served.stderr)
    program = pages.programs(_PAGE)[1]
    self.assertIn('"serving/phrases/1"', program)
    exec(program.replace('"serving/phrases/1"', repr(directory)), {})
    text = "".join(f"{sentence}\n" for sentence in _SENTENCES)
    expected = self._translate(text.encode())
    first = expected.split("\n")[0]
    self.assertEqual(served.stdout, f"5\n{expected}1\n{first}\n0\n")
    with self.assertRaisesRegex(UserError, "is there already"):
      export.export(self.run_, directory)

  def test_the_program_in_the_docs(self):
    self.assertLen(pages.programs(_PAGE), 2)
    program = pages.programs(_PAGE)[0]
    source, target = self._path("sentences"), self._path("translations")
    pathlib.Path(source).write_text("3 hours\n")
    for there, here in (
      ('"DIR"', repr(self.run_.workdir)),
      ('output="FILE"', f"output={target!r}"),
      ('"FILE"', repr(source)),
    ):
      self.assertIn(there, program)
      program = program.replace(there, here)
    exec(program, {})
    self.assertLen(pathlib.Path(target).read_text().splitlines(), 1)

  def test_paths_to_read_and_to_write_text(self):
    expected = self._translate(b"3 hours\n")
    for folder in ("in[1]*", "in 1", "in{a}?\\"):
      os.makedirs(self._path(folder))
      for name in ("input", "output"):  # Another that a pattern would match.
        os.makedirs(self._path("in1x"), exist_ok=True)
        with open(os.path.join(self._path("in1x"), name), "w") as file:
          file.write("5 minutes\n")
      path = os.path.join(self._path(folder), "input")
      with open(path, "w") as file:
        file.write("3 hours\n")
      output = os.path.join(self._path(folder), "output")
      self.assertEqual(
        self._translate(b"", input_path=path, output=output), expected
      )
      with open(os.path.join(self._path("in1x"), "output")) as file:
        self.assertEqual(file.read(), "5 minutes\n")

  def test_a_file_of_the_name_that_is_written_first(self):
    path = self._path("output.tmp")
    with open(path, "w") as file:
      file.write("mine")
    for use in (
      lambda: self._translate(b"3 hours\n"),
      lambda: export.export(self.run_, self._path("output")),
    ):
      with self.assertRaisesRegex(UserError, "output.tmp at first, which is"):
        use()
      with open(path) as file:
        self.assertEqual(file.read(), "mine")

  def test_only_vocabularies_of_the_run_are_read(self):
    run = Runtime(self.run_.strategy, self._path("run"))
    shutil.copytree(self.run_.workdir, run.workdir)
    folder = os.path.join(run.workdir, "vocabulary")
    (name,) = os.listdir(folder)
    for other in ("my.model", f"._{name}", f"{name}.tmp"):
      # A file that SentencePiece cannot read would be left out in any case.
      shutil.copy(os.path.join(folder, name), os.path.join(folder, other))
    self._translate(b"3 hours\n", run=run)
    os.remove(os.path.join(folder, name))
    with self.assertRaisesRegex(UserError, "no file with the vocabulary"):
      self._translate(b"3 hours\n", run=run)

  def test_average_is_the_mean_of_the_slow_weights(self):
    strategy = self.run_.strategy
    one = experiment.unpack(self.config, None, strategy)
    model = experiment.make_model_and_slots(one, 400, strategy)
    optimizer = one.optimizer
    checkpoints = Checkpoints(self.run_.workdir, model, optimizer)
    self.assertLen(checkpoints.paths, 2)
    expected = 0
    for step in (4, 8):  # In the middle of periods of 3.
      checkpoints.read(
        os.path.join(self.run_.workdir, "checkpoints", f"ckpt-{step}")
      )
      slow = [np.array(v).ravel() for v in optimizer.slow_weights]
      expected = expected + np.concatenate(slow) / 2
    chosen = shared.restore_weights(
      "average", checkpoints, model, optimizer, "", 2
    )
    self.assertEqual(chosen, "average, step 4, 8")
    found = [np.array(v).ravel() for v in model.trainable_variables]
    self.assertAllClose(np.concatenate(found), expected, atol=1e-7)

  def test_an_average_of_one_is_refused(self):
    with self.assertRaisesRegex(UserError, "average_checkpoints=1 of this"):
      shared.restore_weights("average", None, None, None, "", 1)

  @parameterized.parameters("best", "last", "average")
  def test_weights_and_beam_size_that_are_asked_for(self, which):
    loaded = trained.load(self.run_, which, beam_size=1)
    self.assertStartsWith(loaded.weights, which)
    self.assertEqual(loaded.decoding.beam_size, 1)

  def test_mistakes(self):
    empty = Runtime(self.run_.strategy, self._path("empty"))
    broken = Runtime(self.run_.strategy, self._path("broken"))
    shutil.copytree(self.run_.workdir, broken.workdir)
    shutil.rmtree(os.path.join(broken.workdir, "best"))
    other = Runtime(self.run_.strategy, self._path("other"))
    shutil.copytree(self.run_.workdir, other.workdir)
    cut = Runtime(self.run_.strategy, self._path("cut"))
    shutil.copytree(self.run_.workdir, cut.workdir)
    for name in os.listdir(os.path.join(other.workdir, "vocabulary")):
      os.remove(os.path.join(other.workdir, "vocabulary", name))
    (name,) = os.listdir(os.path.join(cut.workdir, "vocabulary"))
    os.truncate(os.path.join(cut.workdir, "vocabulary", name), 100)
    for message, arguments in (
      ("is not a file", {"input_path": self._path("none")}),
      ("must be a file in a directory", {"output": self._path("none/x")}),
      ("holds no run", {"run": empty}),
      ("no best checkpoint", {"run": broken}),
      ("no file with the vocabulary", {"run": other}),
      ("no file with the vocabulary", {"run": cut}),
    ):
      with self.assertRaisesRegex(UserError, message):
        self._translate(b"3 hours\n", **arguments)
    same = self._path("input")
    with self.assertRaisesRegex(UserError, "input .*would be overwritten"):
      self._translate(b"3 hours\n", output=f"{os.path.dirname(same)}/./input")
    with open(same) as file:
      self.assertEqual(file.read(), "3 hours\n")
    with self.assertRaisesRegex(UserError, "line 2: this is not UTF-8"):
      self._translate(b"3 hours\n\xff\n")
    self.assertFalse(os.path.exists(self._path("output")))


if __name__ == "__main__":
  tf.test.main()
