import functools

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests import replicas, xla
from tests.trainers.language_modeling import tiny
from tests.trainers.language_modeling.numpy_awd_lstm import NumpyAwdLstm
from trainers import learning_rates, optimizers
from trainers.input import Input
from trainers.language_modeling import pipelines, segments
from trainers.language_modeling import step as step_lib
from trainers.language_modeling.regularization import Masks, Penalties, Rates
from trainers.language_modeling.state import CarriedState, RateFactors

_BPTT = 5
_WIDTHS = tiny.ARCHITECTURE.widths()
_ONE = tf.distribute.OneDeviceStrategy("CPU:0")


def _columns(sizes):
  """Returns the columns of a text with a word more than the sizes need."""
  tokens = np.concatenate([tiny.tokens(1, 4 * sum(sizes))[0], [0] * 3])
  return segments.training_columns(tokens, 4)


@functools.cache
def _train(
  strategy,
  sizes,
  rates=tiny.RATES,
  jit_compile=False,
  jit_compile_loss=False,
  rate=0.5,
  lengths=(3, 7),
):
  """Returns metrics of each step, the weights and the state."""
  count = strategy.num_replicas_in_sync
  objective = step_lib.Objective(_BPTT, rates, Penalties(0.3, 0.2), seed=9)
  factors = RateFactors(0, 0.5, strategy)
  with strategy.scope():
    model = tiny.model()
    schedule = keras.optimizers.schedules.ExponentialDecay(rate, 1, 1.0)
    optimizer = keras.optimizers.SGD(
      learning_rates.Multiplied(schedule, factors.plateau, factors.length)
    )
    optimizer.build(model.trainable_variables)
  state = CarriedState(_WIDTHS, 4, strategy)
  step = step_lib.make_train_step(
    model,
    optimizer,
    objective,
    optimizers.Clipping({}, count),
    state,
    factors,
    lengths,
    replicas=count,
    jit_compile=jit_compile,
    jit_compile_loss=jit_compile_loss,
  )
  table = segments.Table(
    *(np.array(v, np.int32) for v in (np.cumsum([0, *sizes[:-1]]), sizes))
  )
  text = Input(
    lambda context: pipelines.TrainingPipeline(
      _columns(sizes), table, lengths[-1], context
    ),
    strategy,
  )

  @tf.function
  def run(batch):
    values = strategy.run(step, args=(batch,))
    return {k: strategy.reduce("SUM", v, axis=None) for k, v in values.items()}

  made = [
    {k: float(v) for k, v in run(batch).items()}
    for _, batch in zip(sizes, iter(text.batches(0)))
  ]
  weights = [np.array(v) for v in model.trainable_variables]
  return made, weights, [np.array(v) for v in state.variables]


class TrainStepTest(tf.test.TestCase, parameterized.TestCase):
  def test_loss_and_state_are_those_of_numpy(self):
    # A rate of 0 leaves the weights as they are.
    sizes = (7, 3, 4)
    made, *_ = _train(_ONE, sizes, rate=0.0)
    columns = _columns(sizes)
    numpy_state, start = None, 0
    for step, size in enumerate(sizes):
      masks = tiny.masks_by_name(Masks(tiny.RATES, 9, tf.constant(step)), 4)
      segment = columns[:, start : start + size + 1]
      log_p, *_, numpy_state = NumpyAwdLstm(tiny.model(), masks)(
        segment[:, :-1], numpy_state
      )
      targets = segment[:, 1:]
      losses = -np.take_along_axis(log_p, targets[..., np.newaxis], -1)
      self.assertAllClose(made[step]["loss"], losses.mean(), atol=1e-5)
      correct = log_p.argmax(-1) == targets
      self.assertAllClose(made[step]["accuracy"], correct.mean())
      self.assertEqual(made[step]["words"], 4 * size)
      start += size

  def test_the_state_is_carried_and_begins_at_0(self):
    *_, state = _train(_ONE, (7, 7), rate=0.0)
    columns = _columns((7, 7))
    masks = [
      tiny.masks_by_name(Masks(tiny.RATES, 9, tf.constant(step)), 4)
      for step in (0, 1)
    ]
    *_, first = NumpyAwdLstm(tiny.model(), masks[0])(columns[:, :7])
    *_, second = NumpyAwdLstm(tiny.model(), masks[1])(columns[:, 7:14], first)
    expected = [part for layer in second for part in layer]
    self.assertAllClose(state, expected, atol=1e-5)

  def test_a_part_of_a_program_is_a_program_of_that_length(self):
    _, weights, *_ = _train(_ONE, (4,))
    _, expected, *_ = _train(_ONE, (4,), lengths=(4,))
    self.assertAllClose(weights, expected, atol=1e-6)

  def test_the_learning_rate_goes_with_the_length(self):
    before = [np.array(v) for v in tiny.model().trainable_variables]
    _, small, *_ = _train(_ONE, (4,))
    _, large, *_ = _train(_ONE, (4,), rate=0.5 * _BPTT / 4)
    # Nothing but the rate differs: 4 / 5 of the update at the larger rate.
    for one, other, start in zip(small, large, before):
      self.assertAllClose(one - start, 0.8 * (other - start), atol=1e-6)
    # That of a step of a plain gradient.
    model = tiny.model()
    masks = Masks(tiny.RATES, 9, tf.constant(0))
    columns = _columns((4,))
    with tf.GradientTape() as tape:
      tokens = tf.constant(columns.T[:5])
      made = model.run(tokens[:-1], model.zero_state(4), masks)
      loss = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(
          tf.reshape(tokens[1:], [-1]), made.logits
        )
      )
      loss += 0.3 * tf.reduce_mean(made.dropped**2)
      loss += 0.2 * tf.reduce_mean((made.outputs[1:] - made.outputs[:-1]) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    for one, start, gradient in zip(small, before, gradients):
      self.assertAllClose(one, start - 0.4 * gradient, atol=1e-5)

  def test_two_replicas_equal_one(self):
    one = _train(_ONE, (7, 4, 7), lengths=(7,))
    two = _train(replicas.mirrored(), (7, 4, 7), lengths=(7,))
    for metrics, others in zip(one[0], two[0]):
      self.assertAllClose(metrics, others, rtol=1e-5)
    self.assertAllClose(one[1], two[1], atol=1e-5)
    self.assertAllClose(one[2], two[2], atol=1e-5)

  def test_xla_changes_nothing(self):
    xla.require(self)
    plain = _train(_ONE, (7, 4), rates=Rates())
    for strategy, by_xla in (
      (_ONE, {"jit_compile": True}),
      (_ONE, {"jit_compile_loss": True, "lengths": (7,)}),
      (replicas.mirrored(), {"jit_compile_loss": True, "lengths": (7,)}),
    ):
      compiled = _train(strategy, (7, 4), rates=Rates(), **by_xla)
      for metrics, others in zip(plain[0], compiled[0]):
        self.assertAllClose(metrics, others, rtol=1e-5)
      self.assertAllClose(plain[1], compiled[1], atol=1e-5)


class PerplexityTest(tf.test.TestCase, parameterized.TestCase):
  def _perplexity(self, tokens, columns, context, strategy=_ONE, jit=False):
    with strategy.scope():
      model = tiny.model(scale=0.5)
    made = segments.evaluation_columns(tokens, columns, context)
    count = strategy.num_replicas_in_sync
    text = Input(
      lambda context: pipelines.EvaluationPipeline(*made, 6, context),
      strategy,
    )
    state = CarriedState(_WIDTHS, -(-columns // count) * count, strategy)
    evaluate = step_lib.make_perplexity(
      model, text, state, strategy, jit_compile=jit
    )
    first = evaluate()
    self.assertEqual(first, evaluate())  # It begins at 0 again.
    return first

  @parameterized.parameters((5, 4), (6, 2), (47, 3), (60, 4))
  def test_each_word_once_whatever_the_columns(self, words, columns):
    tokens = tiny.tokens(1, words)[0]
    inputs = np.concatenate([[0], tokens[:-1]])[np.newaxis]
    log_p, *_ = NumpyAwdLstm(tiny.model(scale=0.5))(inputs)
    losses = -log_p[0, np.arange(words), tokens]
    expected = {
      "loss": losses.mean(),
      "accuracy": np.mean(log_p[0].argmax(-1) == tokens),
      "perplexity": np.exp(losses.mean()),
    }
    self.assertAllClose(self._perplexity(tokens, 1, 0), expected, rtol=1e-5)
    made = self._perplexity(tokens, columns, words)
    self.assertAllClose(made, expected, rtol=1e-5)
    # With little context, states differ a little.
    made = self._perplexity(tokens, columns, 2)
    self.assertAllClose(made["loss"], expected["loss"], rtol=0.05)

  def test_replicas_and_xla_change_nothing(self):
    tokens = tiny.tokens(1, 50)[0]
    one = self._perplexity(tokens, 3, 4)
    two = self._perplexity(tokens, 3, 4, replicas.mirrored())
    self.assertAllClose(one, two, rtol=1e-5)
    xla.require(self)
    compiled = self._perplexity(tokens, 3, 4, jit=True)
    self.assertAllClose(one, compiled, rtol=1e-5)


if __name__ == "__main__":
  tf.test.main()
