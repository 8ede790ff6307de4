import dataclasses
import glob
import math
import os
import shutil

import keras
import numpy as np
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view

from configs import cifar
from tests import xla
from trainers import metrics
from trainers.devices import Runtime
from trainers.image_classification import (
  experiment,
  fast_layers,
  sources,
  speedrun,
  splits,
  step,
  train,
)
from trainers.image_classification.model import Architecture, make_model


def _architecture(width=64, **fields):
  return Architecture(
    "speedrun", width, (), (32, 32, 3), num_classes=10, **fields
  )


def _images(count, size=8, seed=0):
  """Images whose neighbouring pixels and channels are alike."""
  random = np.random.default_rng(seed)
  noise = random.normal(size=(count, size + 2, size + 2, 3))
  smooth = sum(noise[:, i : i + size, i : i + size] for i in range(3))
  return (smooth + smooth.mean(-1, keepdims=True)).astype("float32")


class WhiteningTest(tf.test.TestCase):
  def test_filtered_patches_are_uncorrelated(self):
    images = _images(200)
    filters = speedrun.whitening_filters([images[:80], images[80:]])
    self.assertEqual((filters.shape, filters.dtype), ((2, 2, 3, 24), "float32"))
    windows = sliding_window_view(images, (2, 2), axis=(1, 2))
    patches = np.moveaxis(windows, 3, -1).reshape(-1, 12)
    before = np.cov(patches.T)
    self.assertGreater(np.abs(before - np.diag(np.diag(before))).max(), 0.5)
    filtered = patches @ filters.reshape(12, 24)
    covariance = np.cov(filtered.T)
    self.assertAllClose(covariance[:12, :12], np.eye(12), atol=0.01)
    # The second half is the negative of the first.
    self.assertAllClose(filtered[:, 12:], -filtered[:, :12])

  def test_the_filter_of_the_greatest_variance_is_the_first(self):
    filters = speedrun.whitening_filters([_images(200)]).reshape(12, 24)
    norms = np.linalg.norm(filters[:, :12], axis=0)  # 1 / sqrt(variance).
    self.assertAllEqual(norms, np.sort(norms))

  def test_a_variance_of_zero_is_limited(self):
    filters = speedrun.whitening_filters([np.zeros((2, 4, 4, 1), "float32")])
    norms = np.linalg.norm(filters.reshape(4, 8), axis=0)
    self.assertAllClose(norms, [5e-4**-0.5] * 8)


class NetworkTest(tf.test.TestCase):
  def test_parameters_by_hand(self):
    groups = ((24, 64), (64, 256), (256, 256))
    kernels = sum(9 * (i * o + o * o) for i, o in groups)
    biases = sum(2 * o for _, o in groups)
    trained = 24 + kernels + biases + 2560
    self.assertEqual(trained, 1_971_352)
    made = make_model(_architecture())
    sizes = [math.prod(v.shape) for v in made.trainable_variables]
    self.assertEqual(sum(sizes), trained)
    frozen = [v for v in made.non_trainable_variables if v.ndim > 1]
    self.assertEqual([v.shape for v in frozen], [(2, 2, 3, 24)])
    self.assertFalse([v for v in made.variables if v.name == "gamma"])

  def test_the_logits_are_scaled(self):
    keras.utils.set_random_seed(0)
    one = make_model(_architecture(4))
    scaled = make_model(_architecture(4, logit_scale=1 / 9))
    scaled.set_weights(one.get_weights())
    images = tf.constant(_images(3, 32))
    self.assertAllClose(9 * scaled(images), one(images), rtol=1e-5)

  def test_the_first_filters_copy_their_channels(self):
    keras.utils.set_random_seed(0)
    for inputs, outputs in ((4, 6), (6, 4)):
      kernel = speedrun.IdentityFirst()((3, 3, inputs, outputs), "float32")
      images = tf.constant(_images(2)[..., :1]) * tf.range(1.0, inputs + 1)
      filtered = tf.nn.conv2d(images, kernel, 1, "SAME")
      copied = min(inputs, outputs)
      self.assertAllClose(filtered[..., :copied], images[..., :copied])
      rest = np.abs(kernel[..., copied:])
      if rest.size:
        self.assertBetween(rest.max(), 0.8 / 6, 1 / 6)

  def test_norm_biases_have_the_rate_but_not_the_decay(self):
    inputs = keras.Input((2, 2, 3))
    layer = fast_layers.FusedBatchNormalization(bias_rate=64.0, scale=False)
    net = keras.Model(inputs, layer(inputs))
    x = tf.constant(_images(4, 2))
    optimizer = keras.optimizers.SGD(0.1)

    def bias():
      return net(x)[0, 0, 0] - (x[0, 0, 0] - layer.moving_mean) / tf.sqrt(
        layer.moving_variance + layer.epsilon
      )

    for gradient_of, factor in (
      (lambda: 2.0 * tf.reduce_sum(net(x, training=True)), None),
      (lambda: step.l2_penalty(net, 0.5), 1 - 0.1 * 0.5),
    ):
      before = bias().numpy()
      with tf.GradientTape() as tape:
        loss = gradient_of()
      optimizer.apply(
        tape.gradient(loss, net.trainable_variables), net.trainable_variables
      )
      expected = before * factor if factor else before - 0.1 * 64 * 2 * 16
      self.assertAllClose(bias(), expected, rtol=1e-4)

  def test_kept_by_layers_of_keras_alone(self):
    xla.require(self)
    made = make_model(
      _architecture(
        4,
        batch_norm_bias_rate=64.0,
        batch_norm_momentum=0.6,
        tuned_for_cpu=True,
      )
    )
    for variable in made.variables:
      if variable.name == "beta":
        variable.assign(tf.random.normal(variable.shape, seed=1))
    images = tf.constant(_images(3, 32))
    made(images, training=True)
    plain = fast_layers.with_layers_of_keras(made)
    kinds = {type(layer).__module__.partition(".")[0] for layer in plain.layers}
    self.assertEqual(kinds, {"keras"})
    self.assertAllClose(plain(images), made(images), rtol=1e-4, atol=1e-5)


def _config(**fields):
  """Returns the speed run with a narrow network, on few images."""
  config = cifar.get_config("speedrun,lookahead")
  config.update_from_flattened_dict(
    {
      "num_epochs": 2.0,
      "global_batch_size": 16,
      "data.name": "cifar10",
      "data.validation_fraction": None,
      "eval_every_epochs": 2.0,
      "checkpoint_every_epochs": 1.0,
      "model.width": 2,
      "model.whitening_images": 40,
      "model.whitening_bias_epochs": 1.0,
      "lookahead.sync_period": 3,
      **fields,
    }
  )
  return config.lock()


class RunTest(tf.test.TestCase):
  """A run of two epochs of 5 steps on random images."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    random = np.random.default_rng(0)
    images = random.integers(256, size=(90, 32, 32, 3), dtype="uint8")
    labels = np.arange(90) % 10
    split = splits.of_arrays(images, labels)
    cls.images = images
    cls.source = dataclasses.replace(
      sources.made_up("cifar10"),
      train=split,
      validation=splits.of_arrays(images[:20], labels[:20]),
      is_made_up=False,
    )

  def _train(self, workdir):
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    unpacked = experiment.unpack(_config(), self.source, strategy)
    run = Runtime(strategy, os.path.join(self.get_temp_dir(), workdir))
    train.train(unpacked, run)
    lines = metrics.read(run.workdir)
    checkpoint = tf.train.load_checkpoint(
      os.path.join(run.workdir, "checkpoints", f"ckpt-{lines[-1]['step']}")
    )
    values = {
      name: np.array(checkpoint.get_tensor(name))
      for name in checkpoint.get_variable_to_shape_map()
      if name.startswith(("model/", "optimizer/"))
    }
    return values, lines

  def test_resumes_to_the_bit_and_keeps_its_filters(self):
    whole, lines = self._train("whole")
    path = os.path.join(self.get_temp_dir(), "resumed")
    shutil.copytree(os.path.join(self.get_temp_dir(), "whole"), path)
    for file in glob.glob(os.path.join(path, "checkpoints", "ckpt-10.*")):
      os.remove(file)
    resumed, other_lines = self._train("resumed")
    # The second epoch was made again: its speed is another.
    self.assertNotEqual(lines[-1], other_lines[-1])
    for name, value in whole.items():
      self.assertEqual(value.tobytes(), resumed[name].tobytes(), name)
    self.assertEqual(lines[-1]["step"], 10)
    self.assertTrue(np.isfinite(lines[-1]["eval/loss"]))
    # The filters of every second image, which no step has changed.
    config = _config()
    normalized = (self.images[::2][:40] / 255 - config.data.mean) / (
      np.array(config.data.std)
    )
    filters = speedrun.whitening_filters([normalized.astype("float32")])
    kernels = [v for v in whole.values() if v.shape == (2, 2, 3, 24)]
    self.assertLen(kernels, 1)  # No slow weights of it either.
    self.assertAllClose(kernels[0], filters, rtol=1e-3, atol=1e-3)


if __name__ == "__main__":
  tf.test.main()
