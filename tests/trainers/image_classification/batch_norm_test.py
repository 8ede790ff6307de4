import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests import xla
from trainers.image_classification import batch_norm


def _layers(**arguments):
  """Returns our layer and Keras', with the same random variables."""
  random = np.random.default_rng(0)
  layers = (
    batch_norm.FusedBatchNormalization(**arguments),
    keras.layers.BatchNormalization(**arguments),
  )
  for layer in layers:
    layer.build((None, 4, 5, 3))
  for pair in zip(*(layer.variables for layer in layers)):
    value = random.uniform(0.5, 2.0, 3)
    for variable in pair:
      variable.assign(value)
  return layers


class FusedBatchNormalizationTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    random = np.random.default_rng(1)
    self.images = random.normal(1.0, 2.0, (2, 4, 5, 3)).astype("float32")
    self.weights = random.normal(size=self.images.shape).astype("float32")

  def _run(self, layer, training, jit_compile):
    """Returns outputs, gradients and the variables after it."""
    x = tf.Variable(self.images)

    @tf.function(jit_compile=jit_compile)
    def step():
      with tf.GradientTape() as tape:
        y = layer(x, training=training)
        loss = tf.reduce_sum(tf.cast(y, tf.float32) * self.weights)
      return y, tape.gradient(loss, [x, layer.gamma, layer.beta])

    return *step(), [np.array(v) for v in layer.variables]

  @parameterized.product(training=[False, True], jit_compile=[False, True])
  def test_equals_keras(self, training, jit_compile):
    if jit_compile:
      xla.require(self)
    ours, keras_own = _layers(momentum=0.9, epsilon=1e-5)
    self.assertAllClose(
      self._run(ours, training, jit_compile),
      self._run(keras_own, training, jit_compile=False),
      rtol=1e-4,
      atol=1e-5,
    )

  def test_is_one_operation(self):
    ours, keras_own = _layers()
    for layer, expected in ((ours, 1), (keras_own, 0)):
      graph = tf.function(lambda x, layer=layer: layer(x, training=True))
      types = [
        op.type
        for op in graph.get_concrete_function(
          tf.TensorSpec(self.images.shape)
        ).graph.get_operations()
      ]
      self.assertEqual(types.count("FusedBatchNormV3"), expected)

  def test_in_bfloat16(self):
    ours, keras_own = _layers(dtype="mixed_bfloat16")
    ours, keras_own = (
      self._run(layer, training=True, jit_compile=False)
      for layer in (ours, keras_own)
    )
    self.assertEqual(ours[0].dtype, tf.bfloat16)
    for a, b in zip(tf.nest.flatten(ours), tf.nest.flatten(keras_own)):
      self.assertAllClose(
        tf.cast(a, tf.float32), tf.cast(b, tf.float32), rtol=0.02, atol=0.05
      )

  def test_frozen(self):
    ours, _ = _layers()
    ours.trainable = False
    before = [np.array(v) for v in ours.variables]
    ours(self.images, training=True)
    self.assertAllClose(before, ours.variables)

  def test_saved_model_has_keras_own(self):
    inputs = keras.Input((4, 5, 3))
    model = keras.Model(inputs, batch_norm.FusedBatchNormalization()(inputs))
    for _ in range(3):
      model(self.images, training=True)
    os.makedirs(self.get_temp_dir(), exist_ok=True)
    path = os.path.join(self.get_temp_dir(), "model.keras")
    batch_norm.with_layers_of_keras(model).save(path)
    loaded = keras.models.load_model(path)
    self.assertIs(type(loaded.layers[-1]), keras.layers.BatchNormalization)
    self.assertAllClose(loaded(self.images), model(self.images))


if __name__ == "__main__":
  tf.test.main()
