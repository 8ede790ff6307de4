import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests.trainers.translation import tiny
from tests.trainers.translation.numpy_transformer import NumpyTransformer
from trainers import devices
from trainers.translation.layers import FeedForward, make_dropout
from trainers.translation.model import make_model

_ONE = ([3, 7, 2, 1], [5, 5, 9, 10, 1])
_TWO = ([8, 1], [2, 4, 1])
_THREE = ([4, 4, 6, 9, 10, 1], [7, 1])


class ModelTest(tf.test.TestCase, parameterized.TestCase):
  def test_equals_numpy_whatever_else_is_in_the_row(self):
    model = tiny.model()
    logits = model(tiny.rows([_ONE, _TWO, _THREE], [_TWO], [_THREE, _ONE]))
    self.assertEqual(logits.dtype, tf.float32)
    reference = NumpyTransformer(model, tiny.architecture())
    for row, pairs in enumerate(([_ONE, _TWO, _THREE], [_TWO], [_THREE, _ONE])):
      start = 0
      for source, target in pairs:
        end = start + len(target)
        self.assertAllClose(
          logits[row, start:end], reference.logits(source, target), atol=2e-5
        )
        start = end

  def test_a_token_changes_nothing_before_it(self):
    model = tiny.model()
    before = model(tiny.rows([_ONE]))
    after = model(tiny.rows([(_ONE[0], [5, 5, 3, 10, 1])]))
    self.assertAllEqual(before[:, :3], after[:, :3])
    self.assertNotAllClose(before[:, 3], after[:, 3], atol=1e-3)

  def test_parameters_of_base(self):
    size, width, inner = 32_000, 512, 2_048
    architecture = tiny.architecture(
      d_model=width, d_ff=inner, num_heads=8, num_layers=6
    )
    attention, norm = 4 * width**2, 2 * width
    feed_forward = 2 * width * inner + inner + width
    encoder = attention + feed_forward + 2 * norm
    decoder = 2 * attention + feed_forward + 3 * norm
    expected = size * width + 6 * (encoder + decoder) + 2 * norm
    self.assertEqual(expected, 60_487_680)
    self.assertEqual(make_model(architecture, size).count_params(), expected)

  def test_initialization_of_tensor2tensor(self):
    model = make_model(tiny.architecture(d_model=64, d_ff=128), 1_000)
    for variable in model.trainable_variables:
      value = np.array(variable)
      if variable.path.endswith("matrix"):
        self.assertAllClose(value.std(), 64**-0.5, rtol=0.02)
      elif variable.path.endswith("kernel"):
        # Uniform, with the variance 2 / (inputs + outputs).
        bound = (6 / sum(value.shape)) ** 0.5
        self.assertBetween(np.abs(value).max(), 0.99 * bound, bound)
      else:
        expected = 1.0 if variable.path.endswith("gamma") else 0.0
        self.assertAllEqual(value, np.full_like(value, expected))

  def test_bfloat16_has_float32_weights_and_logits(self):
    batch = tiny.rows([_ONE, _TWO], [_THREE])
    expected = tiny.model()(batch)
    self.addCleanup(keras.config.set_dtype_policy, "float32")
    devices.set_precision("bfloat16")
    model = tiny.model()
    logits = model(batch)
    self.assertEqual(logits.dtype, tf.float32)
    self.assertEqual({v.dtype for v in model.variables}, {"float32"})
    self.assertAllClose(logits, expected, atol=0.3)
    self.assertNotAllClose(logits, expected, atol=1e-4)

  def test_logits_are_one_product_of_two_matrices(self):
    model = tiny.model()
    function = tf.function(model).get_concrete_function(
      tiny.rows([_ONE, _TWO], [_THREE])
    )
    (logits,) = function.outputs
    operation = logits.op
    while operation.type in ("Identity", "Cast", "Reshape"):
      operation = operation.inputs[0].op
    self.assertEqual(operation.type, "MatMul")

  def test_float16_reads_rows_without_padding_in_the_source(self):
    # The padding of their targets has nothing to read.
    batch = tiny.rows([([3, 4, 5, 1], [6, 1])], length=4)
    expected = tiny.model()(batch)
    self.addCleanup(keras.config.set_dtype_policy, "float32")
    devices.set_precision("float16")
    self.assertAllClose(tiny.model()(batch), expected, atol=0.03)

  @parameterized.parameters("dropout", "relu_dropout", "attention_dropout")
  def test_each_dropout_acts_in_training_only(self, rate):
    batch = tiny.rows([_ONE, _TWO])
    model = tiny.model(**{rate: 0.5})
    self.assertAllEqual(model(batch), tiny.model()(batch))
    one, two = (model(batch, training=True) for _ in range(2))
    self.assertNotAllClose(one, two, atol=1e-2)

  def test_shared_dropout_is_the_same_at_all_positions(self):
    architecture = tiny.architecture(shares_dropout=True)
    layer = FeedForward(64, 64, make_dropout(architecture, 0.5))
    x = tf.ones((2, 5, 64))
    layer(x)
    for variable in layer.trainable_variables:
      is_kernel = variable.path.endswith("kernel")
      variable.assign(np.eye(64) if is_kernel else np.zeros(64))
    dropped = layer(x, training=True).numpy()
    self.assertAllEqual(dropped, dropped[:, :1] * np.ones((1, 5, 1)))
    self.assertCountEqual(np.unique(dropped), [0.0, 2.0])
    self.assertNotAllEqual(dropped[0], dropped[1])


if __name__ == "__main__":
  tf.test.main()
