"""The programs in the documentation run, here or in tests that are named."""

import inspect
import os
import re
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from experiments import local, outcomes
from tests import replicas
from tests.docs import pages

# Pages whose programs other tests run.
_ELSEWHERE = {
  "image_classification": "trainers/image_classification/trained_test.py",
  "language_modeling": "trainers/language_modeling/trained_test.py",
  "tpu_compile": "trainers/tpu/keras_fit_test.py",
  "translation": "trainers/translation/trained_test.py",
  "your_own_config": "docs/your_own_config_test.py",
}
# How many programs of a page are run here, and others by the file of the page.
_HERE = {
  "README": 1,
  "evaluating": 3,
  "index": 1,
  "local_steps": 3,
  "migration": 6,
  "optimizer": 1,
  "outer_rules": 1,
  "recipes": 2,
  "sweeps": 1,
}
# What a reader fills in.
_FILLED_IN = (
  ("model.fit(...)", "model.fit(x, y, verbose=0)"),
  (", ...)", ', loss="mse", run_eagerly=True)'),
  ('"path/to/ckpt-1"', "checkpoint"),
  # There is but one in a process: see tests/replicas.py.
  ("tf.distribute.MirroredStrategy()", "mirrored()"),
)
_TFA = pages.ROOT / "tests" / "lookahead_tf" / "tfa_checkpoints"
_SIGNATURE = "Lookahead(\n  inner_optimizer,"


def _is_run_elsewhere(page, text):
  """Whether readme_test or migration_test runs a program."""
  return {
    "README": text.startswith("import keras\n"),
    "migration": "data.take" in text,
  }.get(page, False)


def _snippets():
  return [
    (f"{page.stem}_{i}", page.stem, text)
    for page in pages.PAGES
    if page.stem not in _ELSEWHERE
    for i, text in enumerate(pages.programs(page))
    if not _is_run_elsewhere(page.stem, text)
  ]


def _run_no_trial(todo, directory):
  """Stands in for `local.run`: returns an outcome of the right attributes."""
  del directory
  outcome = mock.create_autospec(outcomes.Outcome, instance=True)
  outcome.trial = todo[0]
  return [outcome]


class SnippetsTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    before = os.getcwd()
    self.addCleanup(os.chdir, before)
    os.chdir(self.get_temp_dir())

  def test_each_program_is_run(self):
    found = [page for _, page, _ in _snippets()]
    self.assertEqual({page: found.count(page) for page in found}, _HERE)
    for page, test in _ELSEWHERE.items():
      self.assertIn(f'"{page}', (pages.ROOT / "tests" / test).read_text())
    with_programs = {p.stem for p in pages.PAGES if pages.programs(p)}
    self.assertEqual(with_programs, {*_HERE, *_ELSEWHERE})

  @parameterized.named_parameters(_snippets())
  def test_snippet(self, page, text):
    if text.startswith(_SIGNATURE):
      self._check_signature(text)
      return
    for there, here in _FILLED_IN:
      text = text.replace(there, here)
    names = self._names()
    with mock.patch.object(local, "run", _run_no_trial):
      os.chdir(pages.ROOT if page == "sweeps" else self.get_temp_dir())
      exec(text, names)
    model = names["model"]
    if "unwrap_optimizer" in text:
      self.assertIsInstance(model.optimizer, keras.optimizers.Adam)
    elif "compile" in text or "wrap_optimizer" in text:
      self.assertIsInstance(model.optimizer, lookahead_tf.Lookahead)
    for written in re.findall(r'model\.save\("(.*?)"\)', text):
      self.assertTrue(os.path.exists(written), written)

  def _names(self):
    """Returns what the pages take for granted: a model, data, imports."""
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    y = np.zeros((8, 1), "float32")
    model = keras.Sequential(
      [
        keras.Input((3,)),
        keras.layers.Dense(2, name="hidden"),
        keras.layers.Dense(1, name="out"),
      ]
    )
    eagerly = {"loss": "mse", "run_eagerly": True}  # Nothing is traced.
    model.compile("adam", **eagerly)
    model.save("adam.keras")
    model.compile(lookahead_tf.Lookahead("adam"), **eagerly)
    model.train_on_batch(x, y)
    model.save("lookahead.keras")
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    return {
      "__name__": "__main__",
      "Adam": keras.optimizers.Adam,
      "Lookahead": lookahead_tf.Lookahead,
      "mirrored": replicas.mirrored,
      "checkpoint": str(_TFA / "adam" / "ckpt-1"),
      "data": data,
      "keras": keras,
      "lookahead_tf": lookahead_tf,
      "loss": "mse",
      "model": model,
      "train_dataset": data,
      "x": x,
      "y": y,
    }

  def _check_signature(self, text):
    given = re.findall(r"^  (\w+)(?:=(.*?))?,  #", text, re.MULTILINE)
    parameters = inspect.signature(lookahead_tf.Lookahead).parameters
    self.assertEqual([name for name, _ in given], [*parameters][: len(given)])
    for name, default in given:
      if default:
        self.assertEqual(eval(default), parameters[name].default, name)


if __name__ == "__main__":
  tf.test.main()
