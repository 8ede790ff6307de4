"""Files of a model, and what Keras does to a model between two trainings."""

import inspect

import keras
import numpy as np
import tensorflow as tf

import lookahead_tf
from lookahead_tf import Lookahead
from tests.lookahead_tf import small_model
from tests.lookahead_tf.test_case import TestCase

X = small_model.X[:8]


def _trained(steps=3):
  model = small_model.make(Lookahead(keras.optimizers.Adam(0.1), 5))
  small_model.train(model, 0, steps)
  return model


class ExportsTest(TestCase):
  def test_saved_model_of_the_slow_weights(self):
    model, path = _trained(), self.new_path("exported")
    kernel, bias = small_model.values(model.optimizer.slow_weights)
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
    model, path = _trained(), self.new_path("sharded.weights.json")
    model.save_weights(path, max_shard_size=1e-6)  # Gigabytes.
    other = _trained(steps=1)
    other.load_weights(path)
    for each in (model, other):
      small_model.train(each, 3, 7)
    self.assertSame(other.get_weights(), model.get_weights())

  def test_lora_after_training_and_compiled_again(self):
    model = _trained()
    model.optimizer.finish_training()
    layer = model.layers[-1]
    kernel = np.array(layer._kernel)
    layer.enable_lora(1)
    model.compile(Lookahead("sgd", 2), loss="mse")
    start = small_model.values(model.trainable_variables)
    small_model.train(model, 3, 5)
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
      optimizer.build([variable])
      gradient = tf.constant([-1.0], "bfloat16")
      step = tf.function(lambda g, o=optimizer: o.apply([g]))
      for _ in range(1000):
        step(gradient)
      found[slow_dtype] = float(variable.numpy()[0])
    self.assertEqual(found[None], 1.0)
    self.assertAllClose(found["float32"], 1 + 1000 * 0.1 * 2**-5, rtol=0.02)


if __name__ == "__main__":
  tf.test.main()
