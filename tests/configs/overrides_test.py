"""Overrides of a config's fields on the command line, None among them."""

import tensorflow as tf
from ml_collections import config_dict

from tests.configs import experiments
from tests.trainers import command_line
from trainers import trainer


def _fields(config, prefix=""):
  """Yields (field, value or FieldReference) of all nested fields."""
  for name, value in config.items(preserve_field_references=True):
    if isinstance(value, config_dict.ConfigDict):
      yield from _fields(value, f"{prefix}{name}.")
    else:
      yield prefix + name, value


def _parse(path, *arguments):
  """Returns the config that a command line describes."""
  values, _ = command_line.parse(
    [f"--config={path}", "--workdir=run", *arguments], trainer.define_flags
  )
  return values.config


class NoneTest(tf.test.TestCase):
  def test_none_unsets_every_optional_field_of_every_config(self):
    checked = set()
    for name, text in experiments.all_of(
      *experiments.IMAGES,
      *experiments.LANGUAGE_MODELS,
      *experiments.TRANSLATIONS,
      "image_classification",
      "language_modeling",
      "translation",
    ):
      path = f"{experiments.DIRECTORY}/{name}.py:{text}"
      config = _parse(path)
      optional = [
        field
        for field, value in _fields(config)
        if isinstance(value, config_dict.FieldReference)
      ]
      for text in ("None", "none"):
        found = dict(
          _fields(_parse(path, *(f"--config.{f}={text}" for f in optional)))
        )
        for field in optional:
          self.assertIsNone(found[field].get(), (path, field, text))
      checked |= {*optional}
    self.assertContainsSubset(
      {"data.test_split", "data.train_source", "data.eval_resize"}, checked
    )
    self.assertContainsSubset(
      {"data.crop_area", "data.cache", "eval_beam_size", "jit_compile"}, checked
    )

  def test_other_values_are_as_they_were(self):
    config = _parse(
      f"{experiments.DIRECTORY}/translation.py",
      "--config.data.test_split=none of these",
      "--config.data.train_source=",
      "--config.eval_sentences=7",
      "--config.label_smoothing=0.25",
      "--config.jit_compile=true",
      "--config.data.name=None",
    )
    self.assertEqual(config.data.test_split, "none of these")
    self.assertEqual(config.data.train_source, "")
    self.assertEqual(config.eval_sentences, 7)
    self.assertEqual(config.label_smoothing, 0.25)
    self.assertIs(config.jit_compile, True)
    self.assertEqual(config.data.name, "None")

  def test_a_field_that_is_not_optional(self):
    path = f"{experiments.DIRECTORY}/image_classification.py"
    for field in ("num_epochs", "seed", "data.mean", "data.horizontal_flip"):
      with self.assertRaisesRegex(
        SystemExit, f"^Error: {field} must have a value"
      ):
        _parse(path, f"--config.{field}=None")


if __name__ == "__main__":
  tf.test.main()
