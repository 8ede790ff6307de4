import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead
from tests import replicas, xla
from tests.trainers.translation import tiny
from tests.trainers.translation.numpy_transformer import NumpyTransformer
from trainers import optimizers
from trainers.translation import step as step_lib

_PAIRS = (
  ([3, 7, 2, 1], [5, 5, 9, 10, 1]),
  ([8, 1], [2, 4, 1]),
  ([4, 4, 6, 9, 10, 1], [7, 1]),
)
# Two replicas of one row each, with 10 target tokens and with 2.
_BATCH = tiny.rows(_PAIRS, [_PAIRS[2]])


def _parts():
  return [
    {name: tf.constant(rows[i : i + 1]) for name, rows in _BATCH.items()}
    for i in (0, 1)
  ]


def _smoothed(log_probabilities, targets, smoothing):
  """Returns cross entropies with smoothed one-hot targets, less the least."""
  size = log_probabilities.shape[-1]
  wanted = np.full(log_probabilities.shape, smoothing / (size - 1))
  np.put_along_axis(wanted, np.array(targets)[:, np.newaxis], 1 - smoothing, -1)
  least = -(wanted * np.log(np.maximum(wanted, 1e-30))).sum(-1)
  return -(wanted * log_probabilities).sum(-1) - least


def _sgd():
  return keras.optimizers.SGD(0.5)


def _local_sgd():
  return Lookahead(_sgd(), 1, slow_step_size=1.0, local_steps=True)


class StepTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(0.0, 0.1, 0.5)
  def test_smoothed_cross_entropy(self, smoothing):
    random = np.random.default_rng(0)
    logits = 3 * random.normal(size=(6, 7)).astype("float32")
    targets = random.integers(0, 7, size=6)
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    self.assertAllClose(
      step_lib.smoothed_cross_entropy(
        tf.constant(logits), tf.constant(targets, tf.int32), smoothing
      ),
      _smoothed(log_probabilities, targets, smoothing),
      atol=1e-5,
    )

  def test_the_least_is_0(self):
    probabilities = np.array([[0.02, 0.9, 0.02, 0.02, 0.02, 0.02]], "float32")
    losses = step_lib.smoothed_cross_entropy(
      tf.constant(np.log(probabilities)), tf.constant([1]), 0.1
    )
    self.assertAllClose(losses, [0.0], atol=1e-6)

  def _step(self, strategy, batches, jit_compile=False, make=_sgd):
    """Returns summed metrics and the weights after a step of each batch."""
    with strategy.scope():
      model = tiny.model(num_layers=1)
      optimizer = make()
      optimizer.build(model.trainable_variables)
    count = strategy.num_replicas_in_sync
    step = step_lib.make_train_step(
      model,
      optimizer,
      0.1,
      optimizers.Clipping({}, count),
      replicas=count,
      jit_compile=jit_compile,
    )

    @tf.function
    def run():
      metrics = strategy.run(
        step,
        args=(
          strategy.experimental_distribute_values_from_function(
            lambda context: batches[context.replica_id_in_sync_group]
          )
          if len(batches) > 1
          else batches[0],
        ),
      )
      return {
        name: strategy.reduce("SUM", value, axis=None)
        for name, value in metrics.items()
      }

    before = NumpyTransformer(model, tiny.architecture(num_layers=1))
    return before, run(), [np.array(v) for v in model.trainable_variables]

  def test_metrics_are_those_of_all_tokens(self):
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    before, metrics, _ = self._step(strategy, [_BATCH])
    losses, correct = [], []
    for source, target in (*_PAIRS, _PAIRS[2]):
      log_probabilities = before.log_probabilities(source, target)
      losses.extend(_smoothed(log_probabilities, target, 0.1))
      correct.extend(log_probabilities.argmax(-1) == target)
    self.assertAllClose(metrics["loss"], np.mean(losses), rtol=1e-5)
    self.assertAllClose(metrics["accuracy"], np.mean(correct))
    self.assertEqual(float(metrics["target_tokens"]), 12)

  def test_two_replicas_equal_one(self):
    one = tf.distribute.OneDeviceStrategy("CPU:0")
    _, metrics, weights = self._step(one, [_BATCH])
    _, two_metrics, two_weights = self._step(replicas.mirrored(), _parts())
    self.assertAllClose(metrics, two_metrics, rtol=1e-5)
    self.assertAllClose(weights, two_weights, atol=1e-5)

  def test_local_steps_are_of_the_mean_loss_of_each_replica(self):
    """A row of 2 tokens moves its replica as far as one of 10 tokens does."""
    one = tf.distribute.OneDeviceStrategy("CPU:0")
    alone = [self._step(one, [part]) for part in _parts()]
    _, metrics, weights = self._step(
      replicas.mirrored(), _parts(), make=_local_sgd
    )
    for weight, *each in zip(weights, *(weights for _, _, weights in alone)):
      self.assertAllClose(weight, np.mean(each, axis=0), atol=1e-5)
    for name in ("loss", "accuracy"):
      each = [metrics_alone[name] for _, metrics_alone, _ in alone]
      self.assertAllClose(metrics[name], np.mean(each), rtol=1e-5)
    self.assertEqual(float(metrics["target_tokens"]), 12)

  def test_xla_changes_nothing(self):
    xla.require(self)
    one = tf.distribute.OneDeviceStrategy("CPU:0")
    _, metrics, weights = self._step(one, [_BATCH])
    _, xla_metrics, xla_weights = self._step(one, [_BATCH], jit_compile=True)
    self.assertAllClose(metrics, xla_metrics, rtol=1e-5)
    self.assertAllClose(weights, xla_weights, atol=1e-5)

  def test_gradients_are_dense(self):
    model = tiny.model()
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum(model(_BATCH))
    for gradient in tape.gradient(loss, model.trainable_variables):
      self.assertIsInstance(gradient, tf.Tensor)


if __name__ == "__main__":
  tf.test.main()
