"""The command lines of the language model's programs, in-process."""

import os

import tensorflow as tf
from absl.testing import parameterized

from tests.trainers import command_line
from trainers.language_modeling import evaluate, generate
from trainers.language_modeling.__main__ import TRAINER

_CONFIG = f"--config={command_line.ROOT}/configs/pydoc.py:adam"
_INPUT = f"--input={__file__}"


def _run(name, arguments):
  """Runs the program of that name in this process."""
  if name == "train":
    command_line.run_trainer(TRAINER, *arguments)
  if name == "evaluate":
    command_line.run(evaluate.main, arguments, evaluate.define_flags)
  if name == "generate":
    command_line.run(generate.main, arguments, generate.define_flags)


class FlagsTest(
  command_line.Mistakes, tf.test.TestCase, parameterized.TestCase
):
  @parameterized.parameters(
    ("train", [], "--config"),
    ("train", [_CONFIG, "--words=1"], "words"),
    ("train", [_CONFIG, "--data_dir=DIR"], "--data_dir=DIR"),
    ("train", [_CONFIG, "--config.bptt_length=1"], "bptt_length'"),
    ("train", [_CONFIG, "--config.data.name=text_files"], "--data_dir"),
    ("train", [_CONFIG, "--fake_data", "--data_dir=d"], "--data_dir=d"),
    ("evaluate", [], "--input=FILE"),
    ("evaluate", ["--input=none"], "none is not a file"),
    ("evaluate", [_INPUT], "holds no run: train there"),
    ("evaluate", [_INPUT, "--seed=1"], "seed"),
    ("evaluate", [_INPUT, "--weights=average"], "best|last"),
    ("generate", [], "holds no run: train there"),
    ("generate", ["--temperature=0"], "--temperature"),
    ("generate", ["--words=0"], "words"),
    ("generate", ["--top_k=0"], "top_k"),
    ("generate", [_INPUT], "input"),
  )
  def test_a_mistake_ends_with_one_sentence(self, name, arguments, message):
    workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])
    self.assertMistake(
      lambda: _run(name, [f"--workdir={workdir}", *arguments]), message
    )
    self.assertFalse(os.path.exists(workdir))


if __name__ == "__main__":
  tf.test.main()
