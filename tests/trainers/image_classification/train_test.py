import contextlib
import io
import json
import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from sklearn import datasets

from tests import replicas, xla
from tests.trainers import contract
from tests.trainers.image_classification import small_run
from tests.trainers.image_classification.stored_images import write_image
from trainers import metrics
from trainers.errors import UserError
from trainers.image_classification import sources
from trainers.image_classification.__main__ import TRAINER

_LARGE = {"data.pipeline": "large_images", "data.crop_padding": 0}


class TrainTest(
  contract.TrainerContract, tf.test.TestCase, parameterized.TestCase
):
  trainer = TRAINER
  files = (
    "best",
    "best.keras",
    "checkpoints",
    "config.json",
    "events",
    "lock",
    "metrics.jsonl",
    "model.keras",
    "runtime.json",
    "source.json",
  )
  final_file = "best.keras"
  # The checkpoint at 11 is in the middle of a period.
  steps = (5, 10, 11, 15, 20, 22)
  longer_fields = {"num_epochs": 1.25}
  last_metrics = ("eval/loss", "eval/accuracy")
  batch_shapes = ((8, 8, 8, 1), (8,))
  parameters = 11
  told = (
    ("train", "1,437 images"),
    ("validation", "360 images"),
    ("classes", "10 classes: 0, 1, 2, 3, 4, ..."),
  )
  best = "accuracy"
  # Each gradient is longer; the one that is clipped is that of all replicas.
  equal_fields = {"optimizer.arguments.global_clipnorm": 0.02}
  next_programs = (
    "trainers.image_classification.predict",
    "trainers.image_classification.export",
    "tensorboard.main",
  )
  mistakes = (
    ({"model.blocks_per_stage": (0,)}, 1, "model.blocks_per_stage .*positive"),
    ({"optimizer.arguments.weight_decay": -1.0}, 1, "weight_decay .*: -1.0"),
    ({"global_batch_size": 63}, 2, "global_batch_size=63 .*replicas"),
    ({"global_batch_size": 2_000}, 1, "1437 training .*_batch_size=256"),
    ({"model.name": "vit"}, 1, "model.name .*Received: 'vit'"),
    (
      {"model.name": "imagenet_resnet", "model.width": 16},
      1,
      "model.width must be 64 .* Received: 16",
    ),
    ({"data.validation_fraction": 0.2}, 1, "data.name='image_folder'"),
    ({"steps_per_loop": 0}, 1, "steps_per_loop must be positive"),
    ({"num_epochs": -1.0}, 1, "num_epochs must be positive"),
    ({"seed": -1}, 1, r"seed must be in \[0, 2\*\*32 - 2\]"),
    ({"label_smoothing": 2.0}, 1, r"label_smoothing must be in \[0, 1\)"),
    ({"jit_compile": True}, 2, "jit_compile=True cannot"),
    ({"data.mean": (0.5, 0.5, 0.5)}, 1, "data.mean must hold one number"),
    ({"data.pipeline": "huge"}, 1, "data.pipeline must be one of"),
    (_LARGE, 1, "data.name='digits' has none: use 'small_images'"),
    (_LARGE | {"data.crop_padding": 4}, 1, "'large_images' it must be 0"),
    (_LARGE | {"data.cache": True}, 1, "data.cache=True goes with"),
    (_LARGE | {"data.eval_resize": 7}, 1, "not be less than data.image_si"),
    (_LARGE | {"data.crop_area": (0.0, 1.0)}, 1, r"Received: \(0.0, 1.0\)"),
    (
      _LARGE | {"data.crop_aspect_ratio": (2.0, 1.0)},
      1,
      "data.crop_aspect_ratio must be the least and the greatest",
    ),
    ({"data.eval_resize": 9}, 1, "'small_images' it must be None"),
    ({"learning_rate.schedule": "linear"}, 1, "Received: 'linear'"),
    ({"data.crop_fill": "white"}, 1, "data.crop_fill .*Received: 'white'"),
    (
      {"data.crop_fill": "reflect", "data.crop_padding": 8},
      1,
      "data.crop_padding must be less .*=8 .* Received: 8",
    ),
    ({"data.alternating_flip": True}, 1, "data.alternating_flip.*horizontal"),
    (
      _LARGE | {"data.crop_fill": "reflect"},
      1,
      "data.crop_fill=reflect goes with",
    ),
    ({"model.batch_norm_momentum": 1.0}, 1, "model.batch_norm_momentum"),
    ({"model.batch_norm_bias_rate": 0.0}, 1, "model.batch_norm_bias_rate"),
    ({"model.logit_scale": 0.0}, 1, "model.logit_scale must be positive"),
    ({"model.whitening_images": 100}, 1, "None for others. Received: 100"),
    ({"model.name": "speedrun"}, 1, "whitening_images must be a number"),
    (
      {
        "model.name": "speedrun",
        "model.whitening_images": 100,
        "model.whitening_bias_epochs": 3.0,
      },
      1,
      "data.image_size must be 25 or more .*Received: 8",
    ),
    ({"test_time_augmentation": "blur"}, 1, "test_time_augmentation.*'blur'"),
    (
      {"lookahead.final_slow_step_size": 1.5},
      1,
      "final_slow_step_size.*1.5",
    ),
  )

  @classmethod
  def make_config(cls, **fields):
    return small_run.config(**fields)

  @classmethod
  def weights(cls, workdir):
    model = keras.models.load_model(os.path.join(workdir, "model.keras"))
    final = {f"model.keras {v.path}": np.array(v) for v in model.variables}
    return super().weights(workdir) | final

  def test_a_run_that_became_longer_equals_one_that_was_long(self):
    fields = {"learning_rate.schedule": "constant"}
    for epochs in (0.5, 1.0):
      longer = self.make_config(**fields, num_epochs=epochs)
      self.train(longer, self.workdir + "1")
    self.train(longer, self.workdir + "2")
    self.assertSameWeights(
      self.workdir + "1", self.workdir + "2", **self.weights_tolerance
    )

  @parameterized.parameters("slow weights", "moving averages")
  def test_final_model_is_what_was_evaluated_on_every_example(self, kind):
    # Step 22 is in the middle of a period, and 360 is no multiple of 64.
    workdir = self.finished()
    if kind == "moving averages":
      workdir, config = self.workdir, self.make_config()
      with config.unlocked():
        config.lookahead = None
        config.optimizer.arguments.use_ema = True
      self.train(config, workdir)
    checkpoint = tf.train.load_checkpoint(
      os.path.join(workdir, "checkpoints", "ckpt-22")
    )
    state = {"model": [], "optimizer": []}
    for key in checkpoint.get_variable_to_shape_map():
      if (top := key.split("/")[0]) in state:
        state[top].append(np.array(checkpoint.get_tensor(key)).tobytes())
    # The checkpoint has what training goes on with, and in the optimizer what
    # is saved: kernels in training differ from them.
    model = keras.models.load_model(os.path.join(workdir, "model.keras"))
    kernels = [np.array(v).tobytes() for v in model.variables if v.ndim == 4]
    self.assertLen(kernels, 3)
    for kernel in kernels:
      self.assertIn(kernel, state["optimizer"])
      self.assertNotIn(kernel, state["model"])
    source = sources.load("digits")
    images, labels = (
      np.stack(values)
      for values in zip(*source.validation.examples.as_numpy_iterator())
    )
    probabilities = model(images)["probabilities"].numpy()
    last = metrics.read(workdir)[-1]
    self.assertAllClose(
      last["eval/accuracy"], np.mean(probabilities.argmax(-1) == labels)
    )
    self.assertAllClose(
      last["eval/loss"],
      -np.mean(np.log(probabilities[np.arange(360), labels])),
      rtol=1e-4,
    )
    self.assertLen(datasets.load_digits().target, 360 + source.train.size)

  def test_learns(self):
    lines = self.train(
      self.make_config(
        **{"num_epochs": 6.0, "model.width": 16, "eval_every_epochs": 6.0}
      ),
      self.workdir,
    )
    self.assertGreater(lines[-1]["eval/accuracy"], 0.9)
    self.assertLess(lines[-1]["train/loss"], 0.5 * lines[0]["train/loss"])

  def test_without_lookahead_with_another_optimizer_and_xla(self):
    xla.require(self)
    config = self.make_config(eval_every_epochs=1.0)
    with config.unlocked():
      config.lookahead = None
      config.optimizer.name = "adamw"
      config.optimizer.arguments = {"weight_decay": 0.01}
      config.learning_rate.peak = 0.01
      config.jit_compile = True
    lines = self.train(config, self.workdir)
    self.assertLess(lines[-1]["train/loss"], lines[0]["train/loss"])

  def test_fake_data(self):
    config = self.make_config(num_epochs=0.5)
    lines = self.train(config, self.workdir, fake_data=True)
    self.assertEqual(lines[-1]["step"], 11)
    self.assertIn("eval/accuracy", lines[-1])
    with self.assertRaisesRegex(UserError, "source.fake: True -> "):
      self.train(config, self.workdir)

  def test_float16_on_one_device_only(self):
    self.set_precision("float16")
    lines = self.train(self.make_config(), self.workdir + "1")
    self.assertLess(lines[-1]["train/loss"], lines[0]["train/loss"])
    with self.assertRaisesRegex(UserError, "there are 2: use --precision=bfl"):
      self.train(self.make_config(), self.workdir + "2", replicas.mirrored())


class FilesTest(tf.test.TestCase, parameterized.TestCase):
  """Training on image files: two classes, dark and light."""

  def setUp(self):
    super().setUp()
    self.root = os.path.join(self.get_temp_dir(), self.id().split()[0])
    for split, number in (("train", 8), ("validation", 3)):
      for i in range(number):
        self._write(f"{split}/dark/{i}.png", (i, 0, 0))
        self._write(f"{split}/light/{i}.png", (255 - i, 250, 250))

  def _write(self, path, color):
    write_image(os.path.join(self.root, path), color)

  def _train(self, name, strategy=None, init_from=None, **fields):
    """Trains in a workdir of that name; returns its path and its metrics."""
    workdir = os.path.join(self.root, name)
    config = small_run.config(
      **{
        "data.name": "image_folder",
        "data.crop_padding": 0,
        "global_batch_size": 8,
        "eval_every_epochs": 8.0,
        "checkpoint_every_epochs": 8.0,
        **fields,
      }
    )
    lines = TrainTest.train(
      config, workdir, strategy, data_dir=self.root, init_from=init_from
    )
    return workdir, lines

  def assertNamesWhatCannotBeRead(self, path, **fields):
    with open(os.path.join(self.root, path), "w") as file:
      file.write("torn")
    with self.assertRaisesRegex(UserError, f"{path} cannot be read"):
      self._train(os.path.dirname(path).replace("/", "_"), **fields)

  def test_small_images(self):
    _, lines = self._train("run", num_epochs=8.0)
    self.assertEqual(lines[-1]["eval/accuracy"], 1.0)
    self.assertNamesWhatCannotBeRead("train/dark/0.png")
    with self.assertRaisesRegex(
      UserError, "data has changed .*run began.*source.train_fingerprint"
    ):
      self._train("run", num_epochs=8.0)

  def test_class_folders_alone(self):
    root = self.root
    self.root = os.path.join(root, "train")
    workdir, lines = self._train(
      "../run", num_epochs=8.0, **{"data.validation_fraction": 0.25}
    )
    self.assertEqual(lines[-1]["eval/accuracy"], 1.0)
    with open(os.path.join(workdir, "source.json")) as file:
      source = json.load(file)
    self.assertEqual((source["train_size"], source["validation_size"]), (12, 4))

  def test_starting_from_a_run_with_other_classes(self):
    source, _ = self._train("run")
    for path in ("train/red/0.png", "validation/red/0.png"):
      self._write(path, (255, 0, 0))
    with contextlib.redirect_stdout(io.StringIO()) as told:
      self._train("other", init_from=source)
    self.assertIn("new, for 3 classes in place of 2", told.getvalue())
    with self.assertRaisesRegex(
      UserError, f"{source} has another model: model.width is 4 there and 8"
    ):
      self._train("wider", init_from=source, **{"model.width": 8})
    self.assertFalse(os.path.exists(os.path.join(self.root, "wider")))

  def test_large_images_on_one_and_two_replicas(self):
    one, lines = self._train("1", num_epochs=8.0, **_LARGE)
    self.assertEqual(lines[-1]["eval/accuracy"], 1.0)
    two, _ = self._train("2", replicas.mirrored(), num_epochs=8.0, **_LARGE)
    weights, other = TrainTest.weights(one), TrainTest.weights(two)
    self.assertEqual(weights.keys(), other.keys())
    for name, value in weights.items():
      self.assertAllClose(value, other[name], rtol=2e-4, atol=2e-5)

  @parameterized.parameters("train", "validation")
  def test_large_images_that_cannot_be_read(self, split):
    self.assertNamesWhatCannotBeRead(f"{split}/light/2.png", **_LARGE)


if __name__ == "__main__":
  tf.test.main()
