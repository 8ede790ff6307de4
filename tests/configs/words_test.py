import argparse
import contextlib
import io
import itertools

import tensorflow as tf
from absl.testing import parameterized

from configs import words
from tests import processes
from tests.configs import experiments
from tests.trainers import command_line
from trainers import trainer

_FOODS = words.Words(
  "Bread and what goes on it.\n",
  one_of=(("rye", "wheat"), ("butter", "oil", "jam", "jam,butter")),
  any_of=("toasted", "salted"),
  exclude=(("jam", "salted"),),
)


class ChooseTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    ("", {"rye", "butter"}),
    (" ", {"rye", "butter"}),
    ("wheat", {"wheat", "butter"}),
    ("oil", {"rye", "oil"}),
    ("jam", {"rye", "jam"}),
    ("jam,butter", {"rye", "jam", "butter"}),
    ("toasted", {"rye", "butter", "toasted"}),
    ("salted,oil, wheat ,toasted", {"wheat", "oil", "salted", "toasted"}),
  )
  def test_defaults_of_what_is_left_out(self, text, expected):
    self.assertEqual(_FOODS.choose(text), expected)

  def test_the_order_does_not_matter(self):
    given = ("wheat", "jam", "butter", "toasted")
    for order in itertools.permutations(given):
      self.assertEqual(_FOODS.choose(",".join(order)), {*given})

  @parameterized.parameters(
    ("rice", "'rice' is not a word"),
    ("Rye", "'Rye' is not a word"),
    ("rye,", "'' is not a word"),
    ("rye wheat", "'rye wheat' is not a word"),
    ("rye,oil,rye", "rye stands twice"),
    ("toasted,toasted", "toasted stands twice"),
    ("rye,wheat", "rye and wheat exclude each other"),
    ("oil,toasted,butter", "oil and butter exclude each other"),
    ("jam,oil", "jam and oil exclude each other"),
    ("jam,butter,oil", "jam and butter and oil exclude each other"),
    ("salted,jam", "jam and salted exclude each other"),
  )
  def test_refuses(self, text, message):
    with self.assertRaises(argparse.ArgumentTypeError) as raised:
      _FOODS.choose(text)
    self.assertStartsWith(str(raised.exception), message)
    for word in ("rye | wheat", "jam,butter", "toasted", "salted", "help"):
      self.assertIn(word, str(raised.exception))

  @parameterized.parameters("help", "oil, help", "help,rice")
  def test_help_prints_the_page(self, text):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), self.assertRaises(SystemExit) as end:
      _FOODS.choose(text)
    self.assertEqual(end.exception.code, 0)
    self.assertEqual(out.getvalue(), _FOODS.page)


def _parse(*arguments):
  """Parses a trainer's command line; returns how it ends, and its output."""
  out = io.StringIO()
  with contextlib.redirect_stdout(out):
    try:
      command_line.parse(arguments, trainer.define_flags)
    except SystemExit as end:
      return end.code, out.getvalue()
  raise AssertionError(f"{arguments} did not end the program")


class CommandLineTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    *experiments.IMAGES,
    *experiments.LANGUAGE_MODELS,
    *experiments.TRANSLATIONS,
  )
  def test_help_needs_nothing_else(self, name):
    end = _parse(f"--config={experiments.DIRECTORY}/{name}.py:help")
    page = experiments.module(name).__doc__
    self.assertEqual(end, (0, page))

  def test_help_beside_overrides(self):
    path = f"{experiments.DIRECTORY}/digits.py:sgd,help"
    status, page = _parse(
      "--workdir=runs", f"--config={path}", "--config.num_epochs=3"
    )
    self.assertEqual(status, 0)
    self.assertEqual(page, experiments.module("digits").__doc__)

  @parameterized.parameters(
    ("imagenet", "resnet50,resnet152", "resnet50 and resnet152 exclude"),
    ("ptb", "nt_asgd,lookahead", "nt_asgd and lookahead exclude"),
    ("wmt14", "adafactor,lookahead", "adafactor and lookahead exclude"),
    ("wmt14", "adafactor,no_warmup", "adafactor and no_warmup exclude"),
    ("cifar", "sgd,cifar100,sgd", "sgd stands twice"),
    (
      "digits",
      "lookahed",
      "'lookahed' is not a word of this file. Did you mean lookahead?",
    ),
    ("image_classification", "sgd", "'sgd' is not a word"),
    ("translation", "adam", "'adam' is not a word"),
  )
  def test_a_mistake_is_one_sentence(self, name, text, message):
    path = f"{experiments.DIRECTORY}/{name}.py:{text}"
    error, printed = _parse("--workdir=runs", f"--config={path}")
    self.assertStartsWith(error, f"Error: --config={path}: {message}")
    self.assertRegex(error, "Words: .*help$")
    self.assertNotIn("\n", error)
    self.assertEmpty(printed)

  def test_in_a_process_of_its_own(self):
    config = "--config=configs/imagenet.py:tpu,resnet34"
    program = processes.Program("trainers.image_classification", [config], {})
    status, errors = program.wait()
    self.assertEqual(status, 1)
    self.assertIn("imagenet.py:tpu,resnet34: 'resnet34'", errors)
    self.assertIn("resnet50 | resnet152", errors)
    self.assertNotIn("Traceback", errors)


if __name__ == "__main__":
  tf.test.main()
