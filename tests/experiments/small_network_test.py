import keras
import numpy as np
import tensorflow as tf

from experiments import small_network
from trainers.errors import UserError


def _training(seed=0, learning_rate=0.1, **lookahead):
  optimizer = small_network.make_optimizer(learning_rate, 0.9, **lookahead)
  return small_network.Training(optimizer, seed)


class SmallNetworkTest(tf.test.TestCase):
  def test_a_period_is_that_of_algorithm_1(self):
    period = _training(sync_period=3, slow_step_size=0.4).period()
    # The first period of Lookahead is that of SGD alone, up to its end.
    sgd = _training()
    path = [sgd.weights()]
    for _ in range(3):
      sgd.steps(1)
      path.append(sgd.weights())
    self.assertAllClose(period.fast, path, rtol=1e-5, atol=1e-6)
    self.assertAllClose(
      period.slow, 0.6 * path[0] + 0.4 * path[3], rtol=1e-5, atol=1e-6
    )
    self.assertNotAllClose(path[0], path[3])

  def test_evaluates_any_weights(self):
    training, other = _training(seed=0), _training(seed=1)
    data = small_network.load_data()
    logits = keras.ops.convert_to_numpy(other.model(data.held_out_images))
    logits = logits.astype("float64")
    exact = np.log(np.exp(logits).sum(axis=1))
    exact -= logits[np.arange(len(logits)), data.held_out_labels]
    right = (logits.argmax(axis=1) == data.held_out_labels).mean()
    for found in (training.evaluate(other.weights()), other.evaluate()):
      self.assertAllClose([*found], [exact.mean(), 100 * right], rtol=1e-5)
    self.assertNotEqual(training.evaluate(), other.evaluate())

  def test_a_restart_is_a_new_training(self):
    lookahead = {"sync_period": 2, "inner_state": "interpolate"}
    restarted = _training(seed=5, **lookahead)
    restarted.steps(3)
    restarted.restart(seed=1, learning_rate=0.02)
    fresh = _training(seed=1, learning_rate=0.02, **lookahead)
    for training in (restarted, fresh):
      training.steps(5)
    self.assertAllEqual(restarted.weights(), fresh.weights())
    self.assertAllEqual(restarted.slow_weights(), fresh.slow_weights())

  def test_the_slow_weights_stay_within_a_period(self):
    training = _training(sync_period=3)
    first = training.weights()
    training.steps(2)
    self.assertAllEqual(training.slow_weights(), first)
    self.assertNotAllEqual(training.weights(), first)
    training.steps(1)
    self.assertAllEqual(training.slow_weights(), training.weights())

  def test_each_epoch_has_each_digit_once(self):
    batches = small_network._endless_batches(0, small_network.digits())
    epochs = [
      np.concatenate(
        [next(batches) for _ in range(small_network.STEPS_PER_EPOCH)]
      )
      for _ in range(2)
    ]
    for epoch in epochs:
      self.assertCountEqual(epoch, range(small_network.TRAINED_ON))
    self.assertNotAllEqual(*epochs)

  def test_a_loss_that_is_not_finite(self):
    training = _training(learning_rate=1e30)
    with self.assertRaisesRegex(UserError, "diverged.*--learning_rate"):
      training.steps(3)


if __name__ == "__main__":
  tf.test.main()
