"""Files of a model, and what Keras does to a model between two trainings."""

import inspect
import os
import tempfile

import keras
import numpy as np
import tensorflow as tf

import lookahead_tf
from lookahead_tf import Lookahead

X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
Y = X.sum(1, keepdims=True)


def _trained(steps=3):
  keras.utils.set_random_seed(1)
  model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
  model.compile(Lookahead(keras.optimizers.Adam(0.1), 5), loss="mse")
  for _ in range(steps):
    model.train_on_batch(X, Y)
  return model


class ExportsTest(tf.test.TestCase):
  def _path(self, name):
    return os.path.join(tempfile.mkdtemp(dir=self.get_temp_dir()), name)

  def test_saved_model_of_the_slow_weights(self):
    model, path = _trained(), self._path("exported")
    kernel, bias = (np.array(slow) for slow in model.optimizer.slow_weights)
    with lookahead_tf.slow_weights(model):
      model.export(path, verbose=False)
    exported = tf.saved_model.load(path)  # Its variables live as long as it.
    found = exported.serve(X)
    self.assertAllClose(found, X @ kernel + bias)
    self.assertNotAllClose(found, model(X))

  def test_weights_in_several_files(self):
    arguments = inspect.signature(keras.Model.save_weights).parameters
    if "max_shard_size" not in arguments:
      self.skipTest("this Keras writes one file of weights")
    model, path = _trained(), self._path("sharded.weights.json")
    model.save_weights(path, max_shard_size=1e-6)  # Gigabytes.
    other = _trained(steps=1)
    other.load_weights(path)
    for each in (model, other):
      for _ in range(4):
        each.train_on_batch(X, Y)
    for a, b in zip(model.get_weights(), other.get_weights()):
      self.assertAllEqual(a, b)

  def test_lora_after_training_and_compiled_again(self):
    model = _trained()
    model.optimizer.return_slow_weights()
    layer = model.layers[-1]
    kernel = np.array(layer._kernel)
    layer.enable_lora(1)
    model.compile(Lookahead("sgd", 2), loss="mse")
    start = [np.array(v) for v in model.trainable_variables]
    for _ in range(2):
      model.train_on_batch(X, Y)
    self.assertAllEqual(layer._kernel, kernel)
    self.assertLen(model.optimizer.slow_weights, len(start))
    self.assertNotAllClose(model.trainable_variables[0], start[0])

  def test_bfloat16_slow_weights_need_a_wider_dtype_for_small_steps(self):
    # Four units in the last place a period, of which .1 are less than a half.
    found = {}
    for slow_dtype in (None, "float32"):
      variable = keras.Variable([1.0], dtype="bfloat16")
      inner = keras.optimizers.SGD(2**-5)
      optimizer = Lookahead(inner, 1, 0.1, slow_dtype=slow_dtype)
      for _ in range(1000):
        optimizer.apply([tf.constant([-1.0], "bfloat16")], [variable])
      found[slow_dtype] = float(variable.numpy()[0])
    self.assertEqual(found[None], 1.0)
    self.assertAllClose(found["float32"], 1 + 1000 * 0.1 * 2**-5, rtol=0.02)


if __name__ == "__main__":
  tf.test.main()
