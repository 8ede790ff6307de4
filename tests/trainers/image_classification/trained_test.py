"""What is done with a trained run: Keras files, predictions, saved models."""

import contextlib
import csv
import functools
import io
import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests import replicas
from tests.docs import pages
from tests.trainers import command_line
from tests.trainers.image_classification import photos, small_run
from trainers import metrics
from trainers.devices import Runtime
from trainers.errors import UserError
from trainers.image_classification import (
  experiment,
  export,
  predict,
  train,
  trained,
)

_PAGE = pages.ROOT / "docs" / "image_classification.md"
_CLASSES = ("dark, and blue", "light")
# Height and width of the photos; the last is that of the model's input.
_SIZES = ((30, 41), (41, 30), (64, 48), (17, 16), (16, 16))
_KINDS = {
  "small_images": {},
  "large_images": {
    "data.pipeline": "large_images",
    "data.crop_padding": 0,
    "data.eval_resize": 20,
    "data.crop_area": (0.5, 1.0),
  },
}
# How their pipelines decode JPEGs.
_DCT_METHODS = {
  "small_images": "INTEGER_FAST",
  "large_images": "INTEGER_ACCURATE",
}
# Classifies files by Keras files and by saved models.
_CLASSIFY = """
import json
import sys
import keras
import numpy as np
import tensorflow as tf

models, *files = sys.argv[1:]
contents = [tf.io.read_file(file) for file in files]

def classify(keras_file, saved_model, method):
  model = keras.models.load_model(keras_file)
  names = model.get_layer("class_name").get_vocabulary()
  saved = tf.saved_model.load(saved_model)
  images = [
    tf.io.decode_jpeg(content, 3, dct_method=method)[tf.newaxis].numpy()
    for content in contents
  ]
  floats = [tf.constant(image, tf.float32) for image in images]
  by_pixels = saved.signatures["pixels"]
  by_files = saved.signatures["serving_default"](images=tf.stack(contents))
  for answer in (by_files, by_pixels(images=floats[0])):
    for row in answer["class_names"].numpy():
      assert [name.decode() for name in row] == names
  kinds = {
    "uint8": [model.predict(image, verbose=0) for image in images],
    "float32": [model(image) for image in floats],
    "pixels": [by_pixels(images=image) for image in floats],
    "files": [by_files],
  }
  answers = {}
  for kind, parts in kinds.items():
    class_name, probabilities = (
      np.concatenate([part[key] for part in parts])
      for key in ("class_name", "probabilities")
    )
    guesses = [name.decode() for name in class_name]
    answers[kind] = guesses, probabilities.tolist()
  return names, answers

results = [classify(*model) for model in json.loads(models)]
assert not any(m.startswith(("trainers", "lookahead")) for m in sys.modules)
print(json.dumps(results))
"""


def _write_photos(root):
  """Writes photos; of those to validate on, three in four have a wrong class.

  So the accuracy falls while a run trains, and its best step is no late one.
  """
  for split, number in (("train", 16), ("validation", 12)):
    for label, name in enumerate(_CLASSES):
      os.makedirs(os.path.join(root, split, name))
      for i in range(number):
        is_right = split == "train" or i % 4 == 0
        kind = label if is_right else 1 - label
        image = photos.pixels(*_SIZES[i % len(_SIZES)], seed=31 * label + i)
        image = image // 2 + np.uint8([120 * kind, 60, 120 * (1 - kind)])
        with open(os.path.join(root, split, name, f"{i}.jpg"), "wb") as file:
          file.write(photos.encode(image))


def _loss_and_accuracy(probabilities, labels):
  right = np.asarray(probabilities)[np.arange(len(labels)), labels]
  guesses = np.argmax(probabilities, axis=-1)
  return -np.mean(np.log(right)), np.mean(guesses == labels)


class TrainedTest(tf.test.TestCase, parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.root = cls.get_temp_dir(cls())
    cls.photos = os.path.join(cls.root, "photos")
    _write_photos(cls.photos)
    cls.validation = os.path.join(cls.photos, "validation")
    cls.files = [
      os.path.join(cls.validation, name, file)
      for name in _CLASSES
      for file in sorted(os.listdir(os.path.join(cls.validation, name)))
    ]
    cls.labels = np.repeat([0, 1], len(cls.files) // 2)
    cls.runs = {}
    for kind, fields in _KINDS.items():
      config = small_run.config(
        **{
          "num_epochs": 3.0,
          "eval_every_epochs": 0.5,
          "data.name": "image_folder",
          "data.image_size": 16,
          "data.mean": (0.4, 0.5, 0.6),
          "data.std": (0.2, 0.25, 0.3),
          "global_batch_size": 8,
          "learning_rate.warmup": 0.0,
          "steps_per_loop": 2,
          **fields,
        }
      )
      run = Runtime(
        tf.distribute.OneDeviceStrategy("CPU:0"),
        os.path.join(cls.root, kind),
        cls.photos,
      )
      train.train(experiment.load(config, run), run)
      cls.runs[kind] = run

  def _path(self, name):
    directory = os.path.join(self.root, self.id().split()[0])
    os.makedirs(directory, exist_ok=True)
    return os.path.join(directory, name)

  def _evaluations(self, run):
    """Returns the evaluation of the best step, and that of the last one."""
    lines = [line for line in metrics.read(run.workdir) if "eval/loss" in line]
    best = max(line["eval/accuracy"] for line in lines)
    at_best = [line for line in lines if line["eval/accuracy"] == best][-1]
    self.assertLess(lines[-1]["eval/accuracy"], best)
    return at_best, lines[-1]

  def assertEvaluatedAs(self, line, probabilities):
    """Fails unless probabilities of the files have the metrics of a line."""
    loss, accuracy = _loss_and_accuracy(probabilities, self.labels)
    self.assertAllClose(accuracy, line["eval/accuracy"])
    self.assertAllClose(loss, line["eval/loss"], rtol=1e-4)

  @parameterized.product(kind=[*_KINDS], weights=trained.WEIGHTS)
  def test_predictions_are_those_that_were_evaluated(self, kind, weights):
    run = self.runs[kind]
    best, last = self._evaluations(run)
    found = predict.predict(run, self.validation, weights=weights)
    # Names of files sort as text.
    self.assertEqual(found.paths, self.files)
    self.assertEqual(found.class_names, _CLASSES)
    line = {"best": best, "last": last}[weights]
    self.assertEqual(found.weights, f"{weights}, step {line['step']} of 12")
    self.assertEvaluatedAs(line, found.probabilities)

  def test_other_programs_classify_without_this_package(self):
    models = []
    for kind, run in self.runs.items():
      directory = self._path(f"serving/{kind}/1")
      export.export(run, f"{directory}/", weights="last")
      keras_file = os.path.join(run.workdir, "best.keras")
      models.append((keras_file, directory, _DCT_METHODS[kind]))
    classified = subprocess.run(
      [sys.executable, "-c", _CLASSIFY, json.dumps(models), *self.files],
      capture_output=True,
      text=True,
      cwd=self.root,
    )
    self.assertEqual(classified.returncode, 0, classified.stderr)
    for run, (names, answers) in zip(
      self.runs.values(), json.loads(classified.stdout)
    ):
      self.assertEqual(names, [*_CLASSES])
      best, last = self._evaluations(run)
      lines = {"uint8": best, "float32": best, "pixels": last, "files": last}
      self.assertEqual(answers.keys(), lines.keys())
      for kind, (guesses, probabilities) in answers.items():
        with self.subTest(run=run.workdir, kind=kind):
          self.assertEvaluatedAs(lines[kind], probabilities)
          likeliest = np.argmax(probabilities, axis=-1)
          self.assertEqual(guesses, [names[i] for i in likeliest])

  def test_the_last_weights_have_a_file(self):
    run = self.runs["small_images"]
    model = keras.models.load_model(os.path.join(run.workdir, "model.keras"))
    image = tf.io.decode_image(tf.io.read_file(self.files[0]), 3)
    found = predict.predict(run, self.files[0], weights="last")
    self.assertAllClose(
      model.predict(image[tf.newaxis], verbose=0)["probabilities"],
      found.probabilities,
      rtol=1e-4,
    )

  def _exec_program(self, number, **paths):
    """Returns the names of a program of the page, with other paths in it."""
    program = pages.programs(_PAGE)[number]
    for name, path in {"photo.jpg": self.files[3], **paths}.items():
      self.assertIn(f'"{name}"', program)
      program = program.replace(f'"{name}"', repr(path))
    names = {}
    exec(program, names)
    return program, names

  def test_the_programs_in_the_docs(self):
    self.assertLen(pages.programs(_PAGE), 3)
    run = self.runs["small_images"]
    _, names = self._exec_program(0, **{"runs/mine": run.workdir})
    found = names["answer"]
    self.assertEqual(found.paths, [self.files[3]])
    best = os.path.join(run.workdir, "best.keras")
    program, names = self._exec_program(1, **{"runs/mine/best.keras": best})
    self.assertLen([*filter(None, program.split("\n"))], 8)
    self.assertAllClose(
      names["answer"]["probabilities"], found.probabilities, rtol=1e-4
    )
    exported = self._path("exported")
    export.export(run, exported)
    _, names = self._exec_program(2, **{"serving/mine/1": exported})
    self.assertAllClose(
      names["answer"]["probabilities"], found.probabilities, rtol=1e-4
    )

  def test_a_photo_as_several_replicas_and_the_tables_see_it(self):
    one = self.runs["large_images"]
    several = Runtime(replicas.mirrored(), one.workdir)
    found = predict.predict(several, self.validation)
    expected = predict.predict(one, self.validation)
    self.assertEqual(found.paths, expected.paths)
    self.assertAllClose(found.probabilities, expected.probabilities, rtol=1e-4)
    alone = predict.predict(one, self.files[5])
    self.assertEqual(alone.paths, [self.files[5]])
    self.assertAllClose(
      alone.probabilities[0], expected.probabilities[5], rtol=1e-4
    )
    (name, value), (other, rest) = alone.likeliest(0)
    self.assertCountEqual((name, other), _CLASSES)
    self.assertAllClose(value + rest, 1.0)
    self.assertGreaterEqual(value, rest)
    _, line = predict.describe(alone).split("\n")
    self.assertRegex(
      line, f"^{self.files[5]} +{name} +{value:.1%} +{other} {rest:.1%}$"
    )
    header, row = csv.reader(io.StringIO(predict.as_csv(alone)))
    self.assertEqual(header, ["photo", "class", *_CLASSES])
    self.assertEqual(row[:2], [self.files[5], name])
    self.assertAllClose([float(v) for v in row[2:]], alone.probabilities[0])

  def test_a_run_that_has_not_finished(self):
    run = Runtime(self.runs["small_images"].strategy, self._path("run"))
    shutil.copytree(self.runs["small_images"].workdir, run.workdir)
    os.remove(os.path.join(run.workdir, "checkpoints", "ckpt-12.index"))
    found = predict.predict(run, self.files[0])
    self.assertIn("has not finished", found.weights)
    shutil.rmtree(os.path.join(run.workdir, "best"))
    with self.assertRaisesRegex(UserError, "no best .* yet.*--weights=last"):
      predict.predict(run, self.files[0])

  def test_mistakes(self):
    run = self.runs["small_images"]
    empty, text = self._path("empty"), self._path("text/a.txt")
    os.makedirs(empty)
    os.makedirs(os.path.dirname(text))
    with open(text, "w") as file:
      file.write("no image")
    other = Runtime(run.strategy, self._path("other"))
    os.makedirs(other.workdir)
    for name, record in (
      ("config", {"data": {"name": "phrases"}}),
      ("source", {"train": {"size": 3}}),
      ("runtime", {"precision": "float32"}),
    ):
      with open(os.path.join(other.workdir, f"{name}.json"), "w") as file:
        json.dump(record, file)
    for message, path, where in (
      ("none.jpg is not there", self._path("none.jpg"), run),
      ("holds no images among its 0 files", empty, run),
      ("holds no images among its 1 files", os.path.dirname(text), run),
      ("a.txt cannot be read", text, run),
      ("holds no run: train", self.files[0], Runtime(run.strategy, empty)),
      ("a run of another trainer", self.files[0], other),
    ):
      with self.assertRaisesRegex(UserError, message):
        predict.predict(where, path)

  def test_a_photo_is_not_overwritten(self):
    workdir = f"--workdir={self.runs['small_images'].workdir}"
    with open(self.files[0], "rb") as file:
      content = file.read()
    for path in (self.files[0], self.validation):
      status, text = command_line.last_words(
        lambda path=path: command_line.run(
          predict.main,
          [workdir, f"--input={path}", f"--output={self.files[0]}"],
          predict.define_flags,
        )
      )
      self.assertEqual(status, 1)
      self.assertIn(f"--output={self.files[0]} is what --input reads", text)
    with open(self.files[0], "rb") as file:
      self.assertEqual(file.read(), content)

  def test_command_lines(self):
    workdir = f"--workdir={self.runs['small_images'].workdir}"
    table = self._path("table.csv")
    with contextlib.redirect_stdout(io.StringIO()) as text:
      command_line.run(
        predict.main,
        [workdir, f"--input={self.validation}", f"--output={table}"],
        predict.define_flags,
      )
    lines = text.getvalue().split("\n")
    self.assertLen(lines, len(self.files) + 3)
    self.assertStartsWith(lines[-2], "24 photos by the weights of ")
    with open(table) as file:
      rows = [*csv.reader(file)]
    self.assertEqual([row[0] for row in rows[1:]], self.files)
    self.assertIn(f" {rows[1][1]} ", lines[1])
    values, _ = command_line.parse([workdir], predict.define_flags)
    in_help = values.get_key_flags_for_module(predict.__name__)
    self.assertContainsSubset(
      ("input", "output", "weights"), [flag.name for flag in in_help]
    )
    photo = f"--input={self.files[0]}"
    predicts = (predict.main, predict.define_flags)
    exports = (export.main, export.define_flags)
    for (main, define), arguments, message in (
      (predicts, [workdir], "--input"),
      (predicts, [photo], "workdir"),
      (predicts, [workdir, photo, "--weights=first"], "best|last"),
      (predicts, [workdir, photo, f"--output={self.root}"], "--output"),
      (predicts, [workdir, photo, f"--output={self.root}/x/y"], "--output"),
      (predicts, [workdir, self.files[0]], "--name=value"),
      (exports, [workdir], "--output"),
      (exports, [workdir, f"--output={self.root}"], "is there already"),
      (exports, [workdir, f"--output={self.root}/new*"], "new*"),
    ):
      status, words = command_line.last_words(
        functools.partial(command_line.run, main, arguments, define)
      )
      self.assertEqual(status, 1)
      self.assertStartsWith(words, "Error: ")
      self.assertIn(message, words)


if __name__ == "__main__":
  tf.test.main()
