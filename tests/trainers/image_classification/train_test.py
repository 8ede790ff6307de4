import json
import os
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from sklearn import datasets
from trainers.runtime import Runtime

from configs import digits
from tests import replicas, xla
from tests.trainers.image_classification.image_folder_test import write_image
from trainers import metrics, runtime, tpu_compile, tpu_program
from trainers.errors import UserError
from trainers.image_classification import sources, train


def _config(**fields):
  config = digits.get_config("lookahead")
  config.update_from_flattened_dict(
    {
      "num_epochs": 1.0,
      "model.width": 4,
      "steps_per_loop": 5,
      "eval_every_epochs": 0.5,
      "checkpoint_every_epochs": 0.5,
      "lookahead.sync_period": 4,
      **fields,
    }
  )
  return config.lock()


def _one_device():
  return tf.distribute.OneDeviceStrategy("CPU:0")


class TrainTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = os.path.join(
      self.get_temp_dir(), self.id().split()[0], "run"
    )

  def _train(self, config, workdir=None, strategy=None, data_dir=None):
    workdir = workdir or self.workdir
    strategy = strategy or _one_device()
    train.train(config, Runtime(strategy, workdir, data_dir))
    model = keras.models.load_model(os.path.join(workdir, "model.keras"))
    return [np.array(v) for v in model.variables], metrics.read(workdir)

  @parameterized.parameters(None, 0.5)
  def test_two_replicas_equal_one(self, global_clipnorm):
    config = _config(**{"num_epochs": 2.0})
    with config.unlocked():
      config.optimizer.arguments.global_clipnorm = global_clipnorm
    one, one_lines = self._train(config, self.workdir + "1")
    two, two_lines = self._train(
      config, self.workdir + "2", replicas.mirrored()
    )
    self.assertLen(one, len(two))
    for a, b in zip(one, two):
      self.assertAllClose(a, b, rtol=2e-4, atol=2e-5)
    self.assertLen(one_lines, len(two_lines))
    for a, b in zip(one_lines, two_lines):
      del a["examples_per_second"], b["examples_per_second"]
      self.assertAllClose(a, b, rtol=1e-4)

  def test_resuming_changes_nothing(self):
    # It ends after 22 steps; the checkpoint at 11 is in the middle of a period.
    config = _config()
    whole, whole_lines = self._train(config, self.workdir + "1")
    self._train(config)
    directory = os.path.join(self.workdir, "checkpoints")
    for name in os.listdir(directory):
      if "22" in name:
        os.remove(os.path.join(directory, name))
    resumed, resumed_lines = self._train(config)
    for a, b in zip(whole, resumed):
      self.assertAllClose(a, b, rtol=1e-5, atol=1e-6)
    self.assertLen(whole_lines, len(resumed_lines))
    for a, b in zip(whole_lines, resumed_lines):
      self.assertEqual(a["step"], b["step"])
      self.assertAllClose(a["train/loss"], b["train/loss"], rtol=1e-5)

  def test_what_it_leaves_in_the_workdir(self):
    _, lines = self._train(_config())
    self.assertCountEqual(
      os.listdir(self.workdir),
      [
        "best",
        "checkpoints",
        "config.json",
        "events",
        "lock",
        "metrics.jsonl",
        "model.keras",
        "runtime.json",
        "source.json",
      ],
    )
    with open(os.path.join(self.workdir, "config.json")) as file:
      self.assertEqual(json.load(file)["lookahead"]["sync_period"], 4)
    self.assertEqual([line["step"] for line in lines], [5, 10, 11, 15, 20, 22])
    self.assertContainsSubset(
      ["step", "epoch", "examples_per_second", "train/loss", "train/accuracy"],
      lines[0],
    )
    self.assertContainsSubset(["eval/loss", "eval/accuracy"], lines[-1])

  def test_the_step_that_is_compiled_for_tpus(self):
    config = _config()
    with mock.patch.object(tpu_compile, "report", return_value=7) as report:
      status = train.compile_for_tpu(config, None, ["v3-8"])
    self.assertEqual(status, 7)
    make_step, make_inner_step, slices, batch_size, _ = report.call_args.args
    self.assertEqual((slices, batch_size), (["v3-8"], 64))
    strategy = tpu_program.CompiledReplicas(8)
    arguments = []
    for make in (make_step, make_inner_step):
      step, (images, labels) = make(strategy)
      self.assertEqual((images.shape, labels.shape), ((8, 8, 8, 1), (8,)))
      text = tpu_program.stablehlo(step, (images, labels), strategy)
      self.assertIn("stablehlo.all_reduce", text)
      head = next(line for line in text.splitlines() if "@main" in line)
      arguments.append(head.count("%arg"))
    # A slow weight for each of 11 parameters, and the counters of Lookahead.
    self.assertBetween(arguments[0] - arguments[1], 11, 11 + 5)
    self.assertIsNotNone(config.lookahead)

  @parameterized.parameters("slow weights", "moving averages")
  def test_final_model_is_what_was_evaluated_on_every_example(self, kind):
    # Step 22 is in the middle of a period, and 360 is no multiple of 64.
    config = _config()
    if kind == "moving averages":
      with config.unlocked():
        config.lookahead = None
        config.optimizer.arguments.use_ema = True
    saved, lines = self._train(config)
    checkpoint = tf.train.load_checkpoint(
      os.path.join(self.workdir, "checkpoints", "ckpt-22")
    )
    state = {"model": [], "optimizer": []}
    for key in checkpoint.get_variable_to_shape_map():
      if (top := key.split("/")[0]) in state:
        state[top].append(np.array(checkpoint.get_tensor(key)).tobytes())
    # The checkpoint has what training goes on with, and in the optimizer what
    # is saved: kernels in training differ from them.
    kernels = [v.tobytes() for v in saved if v.ndim == 4]
    self.assertLen(kernels, 3)
    for kernel in kernels:
      self.assertIn(kernel, state["optimizer"])
      self.assertNotIn(kernel, state["model"])
    model = keras.models.load_model(os.path.join(self.workdir, "model.keras"))
    source = sources.load(_config().data, None)
    images, labels = (
      np.stack(values)
      for values in zip(*source.validation.examples.as_numpy_iterator())
    )
    logits = model((images / 255 - 0.305) / 0.376, training=False).numpy()
    self.assertAllClose(
      lines[-1]["eval/accuracy"], np.mean(logits.argmax(-1) == labels)
    )
    shifted = logits - logits.max(-1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    self.assertAllClose(
      lines[-1]["eval/loss"],
      -np.mean(log_softmax[np.arange(360), labels]),
      rtol=1e-4,
    )
    self.assertLen(datasets.load_digits().target, 360 + source.train.size)

  def test_learns(self):
    _, lines = self._train(_config(**{"num_epochs": 6.0, "model.width": 16}))
    self.assertGreater(lines[-1]["eval/accuracy"], 0.9)
    self.assertLess(lines[-1]["train/loss"], 0.5 * lines[0]["train/loss"])

  def test_without_lookahead_with_another_optimizer_and_xla(self):
    xla.require(self)
    config = _config()
    with config.unlocked():
      config.lookahead = None
      config.optimizer.name = "adamw"
      config.optimizer.arguments = {"weight_decay": 0.01}
      config.learning_rate.peak = 0.01
      config.jit_compile = True
    _, lines = self._train(config)
    self.assertLess(lines[-1]["train/loss"], lines[0]["train/loss"])

  def _write_folder(self):
    """Writes images of two classes, dark and light; returns their folder."""
    root = os.path.join(self.get_temp_dir(), self.id().split()[0], "images")
    for split, number in (("train", 8), ("validation", 3)):
      for i in range(number):
        write_image(f"{root}/{split}/dark/{i}.png", (i, 0, 0))
        write_image(f"{root}/{split}/light/{i}.png", (255 - i, 250, 250))
    return root

  def test_folder_of_images(self):
    root = self._write_folder()
    config = _config(
      **{
        "data.name": "image_folder",
        "global_batch_size": 8,
        "num_epochs": 8.0,
        "data.crop_padding": 0,
      }
    )
    _, lines = self._train(config, data_dir=root)
    self.assertEqual(lines[-1]["eval/accuracy"], 1.0)
    with open(f"{root}/train/dark/0.png", "w") as file:
      file.write("torn")
    with self.assertRaisesRegex(UserError, "train/dark/0.png cannot be read"):
      self._train(config, self.workdir + "2", data_dir=root)

  def test_large_images_from_files(self):
    root = self._write_folder()
    config = _config(
      **{
        "data.name": "image_folder",
        "data.pipeline": "large_images",
        "data.crop_padding": 0,
        "global_batch_size": 8,
        "num_epochs": 8.0,
      }
    )
    one, lines = self._train(config, self.workdir + "1", data_dir=root)
    self.assertEqual(lines[-1]["eval/accuracy"], 1.0)
    two, _ = self._train(
      config, self.workdir + "2", replicas.mirrored(), data_dir=root
    )
    for a, b in zip(one, two, strict=True):
      self.assertAllClose(a, b, rtol=2e-4, atol=2e-5)
    for i, split in enumerate(("train", "validation")):
      with open(f"{root}/{split}/light/2.png", "w") as file:
        file.write("torn")
      with self.assertRaisesRegex(
        UserError, f"{split}/light/2.png cannot be read"
      ):
        self._train(config, self.workdir + f"{3 + i}", data_dir=root)
      write_image(f"{root}/{split}/light/2.png", (255, 250, 250))

  def test_fake_data(self):
    config = _config(**{"num_epochs": 0.5})
    run = Runtime(_one_device(), self.workdir, fake_data=True)
    train.train(config, run)
    lines = metrics.read(self.workdir)
    self.assertEqual(lines[-1]["step"], 11)
    self.assertIn("eval/accuracy", lines[-1])
    with self.assertRaisesRegex(UserError, "source.fake: True -> "):
      self._train(config)

  def test_mistakes(self):
    large = {"data.pipeline": "large_images", "data.crop_padding": 0}
    for fields, strategy, message in (
      ({"global_batch_size": 63}, replicas.mirrored(), "number of replicas"),
      ({"global_batch_size": 2_000}, None, "the 1437 training examples"),
      ({"model.name": "vit"}, None, "Received: 'vit'"),
      ({"steps_per_loop": 0}, None, "steps_per_loop must be positive"),
      ({"num_epochs": -1.0}, None, "num_epochs must be positive"),
      ({"seed": -1}, None, r"seed must be in \[0, 2\*\*32 - 2\]"),
      ({"label_smoothing": 2.0}, None, r"label_smoothing must be in \[0, 1\)"),
      ({"jit_compile": True}, replicas.mirrored(), "jit_compile=True cannot"),
      ({"data.mean": (0.5, 0.5, 0.5)}, None, "data.mean must hold one number"),
      ({"data.pipeline": "huge"}, None, "data.pipeline must be one of"),
      (large, None, "data.name='digits' has none: use 'small_images'"),
      (large | {"data.crop_padding": 4}, None, "'large_images' it must be 0"),
      (large | {"data.cache": True}, None, "data.cache=True goes with"),
      (large | {"data.eval_resize": 7}, None, "not be less than data.image_si"),
      (large | {"data.crop_area": (0.0, 1.0)}, None, r"Received: \(0.0, 1.0\)"),
      (
        large | {"data.crop_aspect_ratio": (2.0, 1.0)},
        None,
        "data.crop_aspect_ratio must be the least and the greatest",
      ),
      ({"data.eval_resize": 9}, None, "'small_images' it must be None"),
      ({"learning_rate.schedule": "linear"}, None, "Received: 'linear'"),
    ):
      with self.assertRaisesRegex(UserError, message):
        self._train(_config(**fields), strategy=strategy)
      self.assertFalse(os.path.exists(self.workdir))

  def test_float16_on_one_device_only(self):
    self.addCleanup(keras.config.set_dtype_policy, "float32")
    runtime.set_precision("float16")
    config = _config(**{"num_epochs": 2.0})
    _, lines = self._train(config, self.workdir + "1")
    self.assertLess(lines[-1]["train/loss"], lines[0]["train/loss"])
    with self.assertRaisesRegex(UserError, "there are 2: use --precision=bfl"):
      self._train(config, self.workdir + "2", replicas.mirrored())

  def test_precision_belongs_to_the_run(self):
    self.addCleanup(keras.config.set_dtype_policy, "float32")
    runtime.set_precision("bfloat16")
    _, lines = self._train(_config())
    self.assertLess(lines[-1]["train/loss"], lines[0]["train/loss"])
    runtime.set_precision("float32")
    with self.assertRaisesRegex(UserError, "'bfloat16' -> 'float32'"):
      self._train(_config())

  def test_divergence_stops_the_run(self):
    with self.assertRaisesRegex(UserError, "diverged.* step .*learning rate"):
      self._train(_config(**{"learning_rate.peak": 1e9}))
    self.assertFalse(os.path.exists(os.path.join(self.workdir, "model.keras")))

  def test_workdir_of_another_config(self):
    self._train(_config())
    with self.assertRaisesRegex(UserError, "config.seed: 0 -> 1"):
      self._train(_config(seed=1))


if __name__ == "__main__":
  tf.test.main()
