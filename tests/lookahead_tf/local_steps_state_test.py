"""State of replicas with `local_steps`: slots, files, periods under way."""

import warnings

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead
from tests import replicas
from tests.lookahead_tf import small_model
from tests.lookahead_tf.local_replicas import (
  REPLICAS,
  K,
  Replicas,
  gradient_of,
  local,
  sgd,
  train_alone,
)
from tests.lookahead_tf.small_model import make, values
from tests.lookahead_tf.test_case import TestCase


@keras.saving.register_keras_serializable("local_steps_state_test")
class _WeightsComeLast(keras.Model):
  """Keras reads the attributes of a model in the order of the alphabet."""

  def __init__(self, name="weights_come_last", **arguments):
    super().__init__(name=name, **arguments)
    self.units = keras.layers.Dense(small_model.OUTPUTS)

  def call(self, x):
    return self.units(x)


class StateTest(TestCase):
  @parameterized.parameters("maintain", "average", "reset")
  def test_slots_at_a_meeting(self, inner_state):
    ours = Replicas(lambda: local(sgd(), inner_state=inner_state))
    kept = Replicas(lambda: local(sgd()))
    for each in (ours, kept):
      each.train(0, K)
    momenta = ours.optimizer.inner_optimizer.momentums
    found = [
      [m.value.values[replica].numpy() for m in momenta]
      for replica in range(REPLICAS)
    ]
    own = [
      [
        m.value.values[replica].numpy()
        for m in kept.optimizer.inner_optimizer.momentums
      ]
      for replica in range(REPLICAS)
    ]
    expected = {
      "maintain": own,
      "average": [[(a + b) / 2 for a, b in zip(*own)]] * REPLICAS,
      "reset": [[np.zeros_like(a) for a in own[0]]] * REPLICAS,
    }[inner_state]
    for a, b in zip(found, expected):
      self.assertNear(a, b)

  def test_clipping_is_of_each_replicas_own_gradient(self):
    ours = Replicas(
      lambda: local(keras.optimizers.SGD(0.2, global_clipnorm=0.05))
    )
    ours.train(0, 1)
    for replica in range(REPLICAS):
      gradients = gradient_of(ours.initial, replica, 0)
      norm = np.sqrt(sum(np.sum(g**2) for g in gradients))
      self.assertGreater(norm, 0.05)
      self.assertNear(
        ours.weights(replica),
        [w - 0.2 * 0.05 / norm * g for w, g in zip(ours.initial, gradients)],
      )

  def test_accumulated_gradients_and_weight_decay(self):
    def inner(steps):
      return keras.optimizers.SGD(
        0.2, weight_decay=0.1, gradient_accumulation_steps=steps
      )

    ours = Replicas(lambda: local(inner(2), 2), same_data=True)
    ours.train(0, 8)
    one = train_alone(Lookahead(inner(2), 2), 8)
    self.assertNear(ours.model.weights, one.weights)

  def test_excluded_variables_meet_too(self):
    ours = Replicas(
      lambda: local(keras.optimizers.SGD(0.2), exclude="hidden/kernel$")
    )
    ours.train(0, K)
    self.assertCopiesAgree(ours.strategy, ours.model.weights)
    ours.train(K, K + 1)
    kernel = ours.model.weights[0].value
    mean = np.mean([v.numpy() for v in kernel.values], axis=0)
    ours.optimizer.finish_training()
    self.assertCopiesAgree(ours.strategy, ours.model.weights)
    self.assertNear([kernel], [mean])

  def test_moving_statistics_that_follow(self):
    strategy = replicas.mirrored()
    with strategy.scope():
      keras.utils.set_random_seed(1)
      model = keras.Sequential(
        [
          keras.Input((small_model.INPUTS,)),
          keras.layers.BatchNormalization(momentum=0.5),
          keras.layers.Dense(small_model.OUTPUTS),
        ]
      )
      optimizer = local(sgd(), statistics=model)
      model.compile(optimizer, "mse")
    seen = []

    def look(batch, logs):
      if batch == K - 1:
        # The variable itself would be the mean over replicas.
        for v in model.non_trainable_variables:
          seen.append([c.numpy() for c in v.value.values])

    small_model.fit(
      model,
      K,
      callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=look)],
    )
    for first, second in seen:
      self.assertAllEqual(first, second)
      self.assertNotAllClose(first, np.round(first))

  def test_what_something_else_moves_is_left_to_each_replica(self):
    strategy = replicas.mirrored()
    with strategy.scope():
      weight, counter = (keras.Variable(np.zeros(2)) for _ in range(2))
      optimizer = local(keras.optimizers.SGD(0.5), 1)
      optimizer.build([weight, counter])

    @tf.function
    def step():
      def one_replica():
        context = tf.distribute.get_replica_context()
        number = tf.cast(context.replica_id_in_sync_group, tf.float32)
        counter.assign(tf.fill([2], number))
        optimizer.apply([tf.fill([2], number)], [weight])

      strategy.run(one_replica)

    step()
    self.assertSame(counter.value.values, [np.zeros(2), np.ones(2)])
    # Steps of 0 and of .5 * 2 * 1, their mean, and half of that.
    self.assertSame(weight.value.values, [np.full(2, -0.25)] * 2)

  def test_bfloat16_and_sparse_gradients(self):
    with replicas.mirrored().scope():
      table = keras.Variable(np.ones((4, 2)), dtype="bfloat16", name="table")
      optimizer = local(keras.optimizers.SGD(0.5), 2, slow_step_size=1.0)
      optimizer.build([table])

    @tf.function
    def step():
      def one_replica():
        context = tf.distribute.get_replica_context()
        row = context.replica_id_in_sync_group[tf.newaxis]
        gradient = tf.IndexedSlices(
          tf.ones((1, 2), tf.bfloat16), row, tf.constant([4, 2])
        )
        optimizer.apply([gradient], [table])

      replicas.mirrored().run(one_replica)

    step()
    step()
    # Two steps of .5 * 2 replicas at a row that is the other's by half.
    expected = np.ones((4, 2))
    expected[:2] -= 0.5 * 2 * 2 / 2
    self.assertAllClose(keras.ops.convert_to_numpy(table), expected)

  def test_a_lookahead_inside(self):
    def nested(**arguments):
      return Lookahead(Lookahead(sgd(), 2), 4, **arguments)

    ours = Replicas(lambda: nested(local_steps=True), same_data=True)
    ours.train(0, 9)
    one = train_alone(nested(), 9)
    self.assertNear(ours.model.weights, one.weights)


class BetweenStepsTest(TestCase):
  def test_evaluation_in_the_middle_of_a_period(self):
    ours = Replicas(lambda: local(sgd()))
    ours.train(0, K + 1)
    before = [ours.weights(replica) for replica in range(REPLICAS)]
    with lookahead_tf.slow_weights(ours.model, ours.optimizer):
      self.assertCopiesAgree(ours.strategy, ours.model.weights)
      self.assertSame(ours.model.weights, ours.optimizer.slow_weights)
    for replica in range(REPLICAS):
      self.assertSame(ours.weights(replica), before[replica])

  def test_a_period_that_is_started_starts_the_same_everywhere(self):
    ours = Replicas(lambda: local(keras.optimizers.SGD(0.2)))
    ours.train(0, 2)
    before = [ours.weights(replica) for replica in range(REPLICAS)]
    first = before[0]
    ours.optimizer.start_period()
    ours.train(2, 3)
    self.assertCopiesAgree(ours.strategy, ours.optimizer.slow_weights)
    self.assertSame(ours.optimizer.slow_weights, first)
    for replica in range(REPLICAS):
      # A gradient is computed before the optimizer is called.
      step = [0.2 * g for g in gradient_of(before[replica], replica, 2)]
      self.assertNear(
        ours.weights(replica), [w - s for w, s in zip(first, step)]
      )

  def test_checkpoints_with_what_replicas_have_of_their_own(self):
    def files(each):
      return (
        tf.train.Checkpoint(model=each.model, optimizer=each.optimizer),
        tf.train.Checkpoint(own=each.optimizer.replica_variables()),
      )

    ours = Replicas(lambda: local(keras.optimizers.Adam(0.1)))
    ours.train(0, K + 2)
    paths = [each.write(self.new_path("ckpt")) for each in files(ours)]
    ours.train(K + 2, 2 * K + 1)
    again = Replicas(lambda: local(keras.optimizers.Adam(0.1)), seed=2)
    for each, path in zip(files(again), paths):
      each.read(path).assert_consumed()
    again.train(K + 2, 2 * K + 1)
    for replica in range(REPLICAS):
      self.assertSame(again.weights(replica), ours.weights(replica))
    self.assertSame(again.optimizer.variables, ours.optimizer.variables)

  def test_a_checkpoint_on_another_number_of_replicas(self):
    ours = Replicas(lambda: local(sgd()))
    ours.train(0, K + 1)
    checkpoint = tf.train.Checkpoint(model=ours.model, optimizer=ours.optimizer)
    path = checkpoint.write(self.new_path("ckpt"))
    slow = values(ours.optimizer.slow_weights)
    one = make(local(sgd()), hidden=3)
    checkpoint = tf.train.Checkpoint(model=one, optimizer=one.optimizer)
    checkpoint.read(path).assert_consumed()
    self.assertNotAllClose(one.get_weights()[0], slow[0])
    zeros = [np.zeros_like(w) for w in slow]
    for momentum in one.optimizer.inner_optimizer.momentums:
      momentum.assign(keras.ops.zeros_like(momentum))
    one.optimizer.apply(small_model.tensors(zeros), one.trainable_variables)
    self.assertSame(one.weights, slow)

  def test_a_file_of_keras_whose_weights_are_read_last(self):
    with replicas.mirrored().scope():
      model = _WeightsComeLast()
      model(np.zeros((1, 4)))
      model.compile(local(keras.optimizers.SGD(0.2)), "mse")
    small_model.train(model, 0, 1)
    path = self.new_path("model.keras")
    model.save(path)
    with (
      replicas.mirrored().scope(),
      self.assertWarnsRegex(UserWarning, "2 replicas.*slow weights"),
    ):
      loaded = keras.models.load_model(path)
    loaded.optimizer.learning_rate = 0.0
    small_model.train(loaded, 0, 1)
    self.assertSame(loaded.weights, model.optimizer.slow_weights)
    self.assertEqual(loaded.optimizer.updates_in_period, 1)

  @parameterized.parameters("one", "two")
  def test_a_file_of_keras_from_the_middle_of_a_period(self, number):
    ours = Replicas(lambda: local(sgd()))
    ours.train(0, K + 1)
    ours.model.compile(ours.optimizer, "mse")
    path = self.new_path("model.keras")
    ours.model.save(path)
    slow = values(ours.optimizer.slow_weights)

    def load():
      with self.assertWarnsRegex(UserWarning, "2 replicas.*slow weights"):
        return keras.models.load_model(path)

    if number == "one":
      model = load()
      self.assertTrue(model.optimizer.local_steps)
    else:
      with ours.strategy.scope():
        model = load()
    small_model.train(model, 0, 1)
    self.assertSame(model.optimizer.slow_weights, slow)
    model.optimizer.finish_training()
    self.assertSame(model.weights, slow)

  def test_a_file_of_keras_from_the_end_of_training(self):
    with replicas.mirrored().scope():
      model = make(local(sgd()), hidden=3)
    small_model.fit(model, K + 1)
    path = self.new_path("model.keras")
    model.save(path)
    with warnings.catch_warnings():
      warnings.simplefilter("error", UserWarning)
      loaded = keras.models.load_model(path)
    self.assertSame(loaded.weights, model.weights)
    loaded.set_weights([w + 1 for w in loaded.get_weights()])
    start = loaded.get_weights()
    small_model.train(loaded, 0, 1)
    self.assertSame(loaded.optimizer.slow_weights, start)

  def test_an_update_count_goes_on(self):
    strategy = replicas.mirrored()
    with strategy.scope():
      inner = sgd()
      inner.iterations.assign(5)
      optimizer = local(inner)
    self.assertEqual(keras.ops.convert_to_numpy(optimizer.iterations), 5)


if __name__ == "__main__":
  tf.test.main()
