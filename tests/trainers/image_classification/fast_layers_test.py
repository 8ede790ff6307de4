import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests import xla
from trainers.image_classification import fast_layers


def _operations(function, *specs):
  """Returns the operations of a function's graph, and its output."""
  concrete = tf.function(function).get_concrete_function(*specs)
  return concrete.graph.get_operations(), concrete.structured_outputs


class MatmulGradientConv2DTest(tf.test.TestCase, parameterized.TestCase):
  def _outputs_and_gradients(self, kind, kernel_size, dtype):
    """Returns y and the gradients of x and the kernel, of random values."""
    random = np.random.default_rng(0)
    layer = kind(6, kernel_size, padding="same", use_bias=False, dtype=dtype)
    layer.build((2, 2, 2, 5))
    layer.kernel.assign(random.normal(size=layer.kernel.shape))
    x = tf.constant(random.normal(size=(2, 2, 2, 5)), layer.compute_dtype)
    upstream = random.normal(size=(2, 2, 2, 6))

    @tf.function
    def run():
      with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
        loss = tf.reduce_sum(tf.cast(y, tf.float32) * upstream)
      return y, *tape.gradient(loss, [x, layer.kernel.value])

    return [tf.cast(value, tf.float32) for value in run()]

  @parameterized.parameters(1, 2, 3, 5, [(2, 3)])
  def test_equals_keras(self, kernel_size):
    for value, expected in zip(
      self._outputs_and_gradients(
        fast_layers.MatmulGradientConv2D, kernel_size, "mixed_bfloat16"
      ),
      self._outputs_and_gradients(keras.layers.Conv2D, kernel_size, "float32"),
    ):
      self.assertAllClose(value, expected, rtol=0.02, atol=0.05)

  @parameterized.parameters(
    {"strides": 2},
    {"dilation_rate": 2},
    {"groups": 4},
    {"padding": "valid"},
  )
  def test_leaves_other_convolutions_to_keras(self, **arguments):
    results = []
    x = tf.random.stateless_normal((2, 3, 3, 16), [0, 1])
    for kind in (fast_layers.MatmulGradientConv2D, keras.layers.Conv2D):
      keras.utils.set_random_seed(0)
      arguments = {"padding": "same"} | arguments
      layer = kind(16, 3, dtype="mixed_bfloat16", **arguments)
      with tf.GradientTape() as tape:
        y = layer(x)
        loss = tf.reduce_sum(tf.cast(y, tf.float32) ** 2)
      results.append((y, tape.gradient(loss, layer.kernel.value)))
    self.assertAllEqual(results[0][0], results[1][0])
    self.assertAllEqual(results[0][1], results[1][1])

  @parameterized.parameters(
    # Fewer pixels than channels, as many pixels, and a kernel of one place.
    ("mixed_bfloat16", 3, (3, 5, 16), True),
    ("mixed_bfloat16", 3, (4, 4, 16), False),
    ("mixed_bfloat16", 3, (3, 5, 8), False),
    ("mixed_bfloat16", 1, (9, 9, 2), True),
    ("mixed_bfloat16", 3, (None, None, 16), False),
    ("float32", 3, (3, 5, 16), False),
    ("float32", 1, (9, 9, 2), False),
  )
  def test_multiplies_matrices_where_that_is_fast(
    self, dtype, kernel_size, shape, expected
  ):
    layer = fast_layers.MatmulGradientConv2D(
      16, kernel_size, padding="same", dtype=dtype
    )
    layer.build((None, *shape))

    def gradient(x):
      with tf.GradientTape() as tape:
        y = layer(x)
      return tape.gradient(y, layer.kernel.value)

    operations, _ = _operations(gradient, tf.TensorSpec((None, *shape)))
    types = [op.type for op in operations]
    self.assertEqual("MatMul" in types, expected)
    self.assertEqual("Conv2DBackpropFilter" in types, not expected)


def _norms(**arguments):
  """Returns our layer and Keras', with the same random variables."""
  random = np.random.default_rng(0)
  layers = (
    fast_layers.FusedBatchNormalization(**arguments),
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
    ours, keras_own = _norms(momentum=0.9, epsilon=1e-5)
    self.assertAllClose(
      self._run(ours, training, jit_compile),
      self._run(keras_own, training, jit_compile=False),
      rtol=1e-4,
      atol=1e-5,
    )

  @parameterized.parameters(False, True)
  def test_is_one_operation(self, training):
    ours, keras_own = _norms()
    for layer, expected in ((ours, 1), (keras_own, 0)):
      operations, _ = _operations(
        lambda x, layer=layer: layer(x, training=training),
        tf.TensorSpec(self.images.shape),
      )
      types = [op.type for op in operations]
      self.assertEqual(types.count("FusedBatchNormV3"), expected)

  @parameterized.product(
    case=[(16, tf.bfloat16), (24, tf.float32)], training=[False, True]
  )
  def test_computes_in_bfloat16_where_that_is_fast(self, case, training):
    channels, expected = case
    layer = fast_layers.FusedBatchNormalization(dtype="mixed_bfloat16")
    operations, output = _operations(
      lambda x: layer(x, training=training),
      tf.TensorSpec((2, 4, 5, channels)),
    )
    (operation,) = (op for op in operations if op.type == "FusedBatchNormV3")
    self.assertEqual(operation.get_attr("T"), expected)
    self.assertEqual(output.dtype, tf.bfloat16)

  @parameterized.parameters(False, True)
  def test_in_bfloat16(self, training):
    ours, keras_own = _norms(dtype="mixed_bfloat16")
    ours, keras_own = (
      self._run(layer, training, jit_compile=False)
      for layer in (ours, keras_own)
    )
    self.assertEqual(ours[0].dtype, tf.bfloat16)
    for a, b in zip(tf.nest.flatten(ours), tf.nest.flatten(keras_own)):
      self.assertAllClose(
        tf.cast(a, tf.float32), tf.cast(b, tf.float32), rtol=0.02, atol=0.05
      )

  def test_frozen(self):
    ours, _ = _norms()
    ours.trainable = False
    before = [np.array(v) for v in ours.variables]
    ours(self.images, training=True)
    self.assertAllClose(before, ours.variables)

  def test_saved_model_has_keras_own(self):
    inputs = keras.Input((4, 5, 3))
    model = keras.Model(inputs, fast_layers.FusedBatchNormalization()(inputs))
    for _ in range(3):
      model(self.images, training=True)
    os.makedirs(self.get_temp_dir(), exist_ok=True)
    path = os.path.join(self.get_temp_dir(), "model.keras")
    fast_layers.with_layers_of_keras(model).save(path)
    loaded = keras.models.load_model(path)
    self.assertIs(type(loaded.layers[-1]), keras.layers.BatchNormalization)
    self.assertAllClose(loaded(self.images), model(self.images))


class FusedGeluTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(("float32", 1e-5), ("bfloat16", 2**-8))
  def test_equals_keras(self, dtype, rtol):
    xla.require(self)
    values = tf.constant([-9.0, -2.0, -0.3, 0.0, 0.5, 3.0, 9.0], dtype)
    results = []
    for gelu, x in (
      (fast_layers.FusedGelu("gelu", dtype=dtype), values),
      (keras.activations.gelu, tf.cast(values, tf.float32)),
    ):
      with tf.GradientTape() as tape:
        tape.watch(x)
        y = gelu(x)
      results.append((y, tape.gradient(y, x, output_gradients=2.0 * x)))
      self.assertEqual({value.dtype for value in results[-1]}, {x.dtype})
    ours, keras_own = results
    for value, expected in zip(ours, keras_own):
      value = tf.cast(value, tf.float32)
      self.assertAllClose(value, expected, rtol=rtol, atol=1e-5)


if __name__ == "__main__":
  tf.test.main()
