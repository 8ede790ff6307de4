import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests import xla
from tests.trainers.language_modeling import tiny
from tests.trainers.language_modeling.numpy_awd_lstm import NumpyAwdLstm
from trainers.language_modeling import lstm
from trainers.language_modeling.model import Architecture, make_model
from trainers.language_modeling.regularization import Masks


def _log_probabilities(outputs, rows):
  log_p = tf.nn.log_softmax(outputs.logits)
  shape = (-1, rows, tiny.VOCABULARY_SIZE)
  return tf.transpose(tf.reshape(log_p, shape), (1, 0, 2))


class ModelTest(tf.test.TestCase, parameterized.TestCase):
  def test_the_papers_number_of_parameters(self):
    model = make_model(Architecture(400, 1150, 3), 10_000)
    count = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    self.assertEqual(count, 24_210_800)
    # PyTorch counts a second bias for each gate.
    biases = 4 * (1150 + 1150 + 400)
    self.assertEqual(count + biases, 24_221_600)

  def test_a_text_without_dropout(self):
    model = tiny.model()
    tokens = tiny.tokens(3, 8)
    expected, *_ = NumpyAwdLstm(model)(tokens)
    logits = model(tf.constant(tokens))
    self.assertAllClose(tf.nn.log_softmax(logits), expected, atol=1e-5)

  def test_sizes_that_are_not_static(self):
    model = tiny.model()
    tokens = tiny.tokens(3, 8)
    call = tf.function(
      model, input_signature=[tf.TensorSpec((None, None), tf.int32)]
    )
    self.assertAllClose(call(tokens), model(tokens), atol=1e-6)

  @parameterized.parameters(False, True)
  def test_segments_with_masks(self, jit_compile):
    if jit_compile:
      xla.require(self)
    model = tiny.model()
    tokens = tiny.tokens(3, 9)

    @tf.function(jit_compile=jit_compile)
    def run(part, state, step):
      masks = Masks(tiny.RATES, seed=5, step=step)
      made = model.run(tf.transpose(part), state, masks)
      return (
        _log_probabilities(made, 3),
        made.outputs,
        made.dropped,
        made.state,
      )

    @tf.function(jit_compile=jit_compile)  # Where XLA draws other numbers.
    def masks_of(step):
      return tiny.masks_by_name(Masks(tiny.RATES, seed=5, step=step), 3)

    state, numpy_state = model.zero_state(3), None
    for step, part in enumerate((tokens[:, :4], tokens[:, 4:])):
      masks = masks_of(tf.constant(step))
      numpy_model = NumpyAwdLstm(model, masks)
      *expected, numpy_state = numpy_model(part, numpy_state)
      *made, state = run(part, state, tf.constant(step))
      self.assertAllClose(made[0], expected[0], atol=1e-5)
      for one, other in zip(made[1:], expected[1:]):
        self.assertAllClose(np.transpose(one, (1, 0, 2)), other, atol=1e-5)
      self.assertAllClose(state, numpy_state, atol=1e-5)

  def test_gradients_are_dense(self):
    model = tiny.model()
    with tf.GradientTape() as tape:
      masks = Masks(tiny.RATES, seed=5, step=tf.constant(0))
      made = model.run(tiny.tokens(5, 3), model.zero_state(3), masks)
      loss = tf.reduce_sum(made.logits)
    for gradient in tape.gradient(loss, model.trainable_variables):
      self.assertIsInstance(gradient, tf.Tensor)
      self.assertGreater(np.abs(gradient).max(), 0)

  def test_saving(self):
    model = tiny.model()
    path = os.path.join(self.get_temp_dir(), "model.keras")
    model.save(path)
    tokens = tf.constant(tiny.tokens(2, 5))
    loaded = keras.saving.load_model(path)
    self.assertAllEqual(loaded(tokens), model(tokens))
    self.assertEqual(loaded.architecture, tiny.ARCHITECTURE)

  def test_bfloat16(self):
    expected, *_ = NumpyAwdLstm(tiny.model())(tiny.tokens(3, 8))
    self.addCleanup(keras.config.set_dtype_policy, "float32")
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = tiny.model()
    made = model.run(tf.transpose(tiny.tokens(3, 8)), model.zero_state(3))
    self.assertEqual(made.outputs.dtype, tf.bfloat16)
    self.assertEqual(made.logits.dtype, tf.float32)
    self.assertAllClose(_log_probabilities(made, 3), expected, atol=0.2)


class LstmTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(1, 5)
  def test_outputs_and_gradients_are_those_of_keras(self, steps):
    random = np.random.default_rng(0)
    x = tf.constant(random.normal(size=(steps, 2, 3)), tf.float32)
    h, c = (tf.constant(random.normal(size=(2, 4)), tf.float32) for _ in "hc")
    weights = [
      random.normal(size=shape).astype("float32")
      for shape in ((3, 16), (4, 16), (16,))
    ]
    layer = lstm.Lstm(4)
    layer.build((None, None, 3))
    peer = keras.layers.LSTM(4, return_sequences=True, return_state=True)
    peer.build((None, None, 3))
    results = []
    for one in (layer, peer):
      one.set_weights(weights)
      with tf.GradientTape() as tape:
        tape.watch([x, h, c])
        if one is layer:
          outputs, (_, last) = layer.run(x, (h, c))
        else:
          batch = tf.transpose(x, (1, 0, 2))
          outputs, _, last = peer(batch, initial_state=[h, c])
          outputs = tf.transpose(outputs, (1, 0, 2))
        loss = tf.reduce_sum(tf.sin(outputs)) + tf.reduce_sum(last**2)
      variables = [v.value for v in one.trainable_variables]
      gradients = tape.gradient(loss, [x, h, c, *variables])
      results.append([outputs, last, *gradients])
    for one, other in zip(*results):
      self.assertAllClose(one, other, atol=1e-5)


if __name__ == "__main__":
  tf.test.main()
