"""Replicas that make the steps of a period by themselves (`local_steps`)."""

import inspect
import warnings

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead
from tests import processes, replicas
from tests.lookahead_tf import (
  algorithm1,
  keras_optimizers,
  local_steps_program,
  outer_algorithms,
  small_model,
)
from tests.lookahead_tf.small_model import make, values
from tests.lookahead_tf.test_case import TestCase

K = 3
REPLICAS = 2


def _sgd(**arguments):
  return keras.optimizers.SGD(0.2, 0.9, **arguments)


def _local(inner, k=K, **arguments):
  return Lookahead(inner, k, local_steps=True, **arguments)


def _rows(step, replica):
  """Returns the half of a batch that is a replica's."""
  half = small_model.BATCH_SIZE // REPLICAS
  x, y = small_model.batch(step)
  rows = slice(replica * half, (replica + 1) * half)
  return x[rows], y[rows]


def _gradient(weights, replica, step):
  return small_model.gradient_of(weights, *_rows(step, replica))


def _train_alone(optimizer, steps):
  """Returns a model that one device trained on the first half of each batch."""
  model = make(hidden=3)
  for step in range(steps):
    gradients = small_model.gradient_of(
      values(model.trainable_variables), *_rows(step, 0)
    )
    optimizer.apply(small_model.tensors(gradients), model.trainable_variables)
  return model


class Replicas:
  """A model on two replicas, each of which trains on half of each batch.

  Args:
    make_optimizer: Returns the optimizer.
    same_data: Whether both train on the first half.
    **arguments: Of `small_model.make`.
  """

  def __init__(self, make_optimizer, same_data=False, **arguments):
    self.strategy = replicas.mirrored()
    with self.strategy.scope():
      self.model = make(**{"hidden": 3} | arguments)
      self.optimizer = make_optimizer()
      self.optimizer.build(self.model.trainable_variables)
    self._same_data = same_data
    self.initial = [w.astype(np.float64) for w in self.model.get_weights()]

  def train(self, first, last):
    """Makes the steps from `first` to before `last`."""
    model, optimizer = self.model, self.optimizer

    def replica_step(x, y):
      with tf.GradientTape() as tape:
        error = tf.cast(model(x), tf.float32) - y
        loss = tf.reduce_mean(error**2) / REPLICAS
      variables = model.trainable_variables
      optimizer.apply(tape.gradient(loss, variables), variables)

    @tf.function
    def step(x, y):
      self.strategy.run(replica_step, (x, y))

    for i in range(first, last):
      parts = [
        _rows(i, 0 if self._same_data else replica)
        for replica in range(REPLICAS)
      ]
      step(
        *(
          self.strategy.experimental_distribute_values_from_function(
            lambda c, each=each: tf.constant(each[c.replica_id_in_sync_group])
          )
          for each in zip(*parts)
        )
      )

  def weights(self, replica):
    """Returns the weights of one replica."""
    return [v.value.values[replica].numpy() for v in self.model.weights]


@keras.saving.register_keras_serializable("local_steps_test")
class _WeightsComeLast(keras.Model):
  """Keras reads the attributes of a model in the order of the alphabet."""

  def __init__(self, name="weights_come_last", **arguments):
    super().__init__(name=name, **arguments)
    self.units = keras.layers.Dense(small_model.OUTPUTS)

  def call(self, x):
    return self.units(x)


class AlgorithmTest(TestCase):
  @parameterized.product(
    inner=["sgd", "adam"], rule=["lookahead", "diloco", "outer_optimizer"]
  )
  def test_is_diloco(self, inner, rule):
    arguments, algorithm = {
      "lookahead": (
        {"slow_step_size": 0.7},
        outer_algorithms.lookahead(0.7),
      ),
      "diloco": (
        {"slow_step_size": 0.7, "slow_momentum": 0.9, "slow_nesterov": True},
        outer_algorithms.momentum(0.7, 0.9, True),
      ),
      "outer_optimizer": (
        {"outer_optimizer": "sgd"},
        outer_algorithms.momentum_inside(0.01, 0.0, False),
      ),
    }[rule]
    make_inner, make_expected = {
      "sgd": (_sgd, lambda: algorithm1.Sgd(0.2, 0.9)),
      "adam": (
        lambda: keras.optimizers.Adam(0.1),
        lambda: algorithm1.Adam(0.1),
      ),
    }[inner]
    steps = 2 * K + 1
    ours = Replicas(lambda: _local(make_inner(), **arguments))
    ours.train(0, steps)
    thetas, phi, drift = outer_algorithms.local_steps(
      [make_expected() for _ in range(REPLICAS)],
      _gradient,
      ours.initial,
      steps,
      K,
      algorithm,
    )
    self.assertNotAllClose(thetas[0][0], thetas[1][0])
    for replica in range(REPLICAS):
      self.assertNear(ours.weights(replica), thetas[replica], 1e-5)
    self.assertNear(ours.optimizer.slow_weights, phi, 1e-5)
    self.assertAllClose(ours.optimizer.replica_drift, drift, 1e-4, 1e-4)
    # Where replicas have met, they are equal bit for bit.
    self.assertCopiesAgree(ours.strategy, ours.optimizer.slow_weights)
    ours.train(steps, 3 * K)
    self.assertCopiesAgree(ours.strategy, ours.model.weights)

  def test_one_step_of_sgd_is_synchronous_training(self):
    def inner():
      return keras.optimizers.SGD(0.2)

    apart = Replicas(lambda: _local(inner(), 1, slow_step_size=1.0))
    together = Replicas(inner)
    for each in (apart, together):
      each.train(0, 5)
    self.assertNear(apart.model.weights, together.model.weights)

  @parameterized.parameters(1, 3)
  def test_the_same_data_on_all_replicas_is_one_device(self, k):
    ours = Replicas(lambda: _local(keras.optimizers.Adam(0.1), k), True)
    ours.train(0, 7)
    one = _train_alone(Lookahead(keras.optimizers.Adam(0.1), k), 7)
    self.assertNear(ours.model.weights, one.weights)
    self.assertEqual(ours.optimizer.replica_drift, 0.0)

  @parameterized.parameters((["4"], 4, 0), ([], 2, 2), ([], 3, 3))
  def test_is_diloco_in_other_processes(self, arguments, number, workers):
    """4 replicas in one process; 2 and 3 processes with one replica each."""
    program = local_steps_program
    configs = [
      {"TF_CONFIG": text} for text in processes.tf_configs(workers)
    ] or [{}]
    paths = [self.new_path(f"{i}.npz") for i in range(len(configs))]
    running = [
      processes.Program(program.__name__, [path, *arguments], config)
      for path, config in zip(paths, configs)
    ]
    for each in running:
      status, stderr = each.wait()
      self.assertEqual(status, 0, stderr)
    found = [np.load(path) for path in paths]
    keras.utils.set_random_seed(1)
    initial = make(hidden=program.HIDDEN).get_weights()
    thetas, phi, drift = outer_algorithms.local_steps(
      [algorithm1.Sgd(program.RATE, program.MOMENTUM) for _ in range(number)],
      lambda weights, replica, step: small_model.gradient_of(
        weights, *program.rows(step, replica, number)
      ),
      [w.astype(np.float64) for w in initial],
      program.STEPS,
      program.K,
      outer_algorithms.momentum(0.7, 0.5, True),
    )
    for replica, theta in enumerate(thetas):
      file, local = (replica, 0) if workers else (0, replica)
      for i, expected in enumerate(theta):
        self.assertAllClose(found[file][f"{local}.{i}"], expected, 1e-5, 1e-5)
    for file in found:
      self.assertAllClose(file["drift"], drift, 1e-4, 1e-4)
      for i, expected in enumerate(phi):
        self.assertAllClose(file[f"slow.{i}"], expected, 1e-5, 1e-5)
        self.assertAllEqual(file[f"slow.{i}"], found[0][f"slow.{i}"])


class InnerOptimizersTest(TestCase):
  def test_each_on_the_same_data_is_one_device(self):
    """All of Keras' optimizers, some of which update in a way of their own."""
    strategy = replicas.mirrored()
    gradients = [np.full((3, 4), g, "float32") for g in (0.5, -1.0, 2.0)]

    def make_all():
      """Returns (variable, optimizer) by name; each built for its variable."""
      made = {}
      for name, kind in keras_optimizers.CLASSES.items():
        variable = keras.Variable(
          np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4), name="kernel"
        )
        arguments = {}
        if "weight_decay" in inspect.signature(kind.__init__).parameters:
          arguments["weight_decay"] = 0.1
        if name == "Muon":
          arguments["adam_weight_decay"] = 0.4
        optimizer = kind(0.1, **arguments)
        optimizer = Lookahead(optimizer, 2, local_steps=True)
        optimizer.build([variable])
        made[name] = variable, optimizer
      return made

    with strategy.scope():
      ours = make_all()
    expected = make_all()

    @tf.function
    def step(gradient):
      def one_replica():
        for variable, optimizer in ours.values():
          optimizer.apply([gradient / REPLICAS], [variable])

      strategy.run(one_replica)

    for gradient in gradients:
      step(tf.constant(gradient))
      for variable, optimizer in expected.values():
        optimizer.apply([tf.constant(gradient)], [variable])
    for name, (variable, _) in ours.items():
      with self.subTest(name):
        self.assertTrue(np.isfinite(values([variable])[0]).all())
        self.assertNear([variable], [expected[name][0]])

  def test_an_outer_one_with_a_way_of_its_own(self):
    """On one device it is as any other; replicas cannot make its updates."""
    variable = keras.Variable([1.0])
    bare, expected = keras.optimizers.Nadam(0.1), keras.Variable([1.0])
    optimizer = Lookahead(
      keras.optimizers.SGD(0.1), 1, outer_optimizer=keras.optimizers.Nadam(0.1)
    )
    for _ in range(3):
      optimizer.apply([tf.constant([1.0])], [variable])
      bare.apply([tf.constant([0.1])], [expected])
    self.assertNear([variable], [expected])
    with (
      replicas.mirrored().scope(),
      self.assertRaisesRegex(ValueError, "`outer_optimizer`.*Nadam"),
    ):
      Lookahead(
        keras.optimizers.SGD(), outer_optimizer=keras.optimizers.Nadam()
      )


class StateTest(TestCase):
  @parameterized.parameters("maintain", "average", "reset")
  def test_slots_at_a_meeting(self, inner_state):
    ours = Replicas(lambda: _local(_sgd(), inner_state=inner_state))
    kept = Replicas(lambda: _local(_sgd()))
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
      lambda: _local(keras.optimizers.SGD(0.2, global_clipnorm=0.05))
    )
    ours.train(0, 1)
    for replica in range(REPLICAS):
      gradients = _gradient(ours.initial, replica, 0)
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

    ours = Replicas(lambda: _local(inner(2), 2), same_data=True)
    ours.train(0, 8)
    one = _train_alone(Lookahead(inner(2), 2), 8)
    self.assertNear(ours.model.weights, one.weights)

  def test_excluded_variables_meet_too(self):
    ours = Replicas(
      lambda: _local(keras.optimizers.SGD(0.2), exclude="hidden/kernel$")
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
      optimizer = _local(_sgd(), statistics=model)
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
      optimizer = _local(keras.optimizers.SGD(0.5), 1)
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
      optimizer = _local(keras.optimizers.SGD(0.5), 2, slow_step_size=1.0)
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
      return Lookahead(Lookahead(_sgd(), 2), 4, **arguments)

    ours = Replicas(lambda: nested(local_steps=True), same_data=True)
    ours.train(0, 9)
    one = _train_alone(nested(), 9)
    self.assertNear(ours.model.weights, one.weights)


class BetweenStepsTest(TestCase):
  def test_evaluation_in_the_middle_of_a_period(self):
    ours = Replicas(lambda: _local(_sgd()))
    ours.train(0, K + 1)
    before = [ours.weights(replica) for replica in range(REPLICAS)]
    with lookahead_tf.slow_weights(ours.model, ours.optimizer):
      self.assertCopiesAgree(ours.strategy, ours.model.weights)
      self.assertSame(ours.model.weights, ours.optimizer.slow_weights)
    for replica in range(REPLICAS):
      self.assertSame(ours.weights(replica), before[replica])

  def test_a_period_that_is_started_starts_the_same_everywhere(self):
    ours = Replicas(lambda: _local(keras.optimizers.SGD(0.2)))
    ours.train(0, 2)
    before = [ours.weights(replica) for replica in range(REPLICAS)]
    first = before[0]
    ours.optimizer.start_period()
    ours.train(2, 3)
    self.assertCopiesAgree(ours.strategy, ours.optimizer.slow_weights)
    self.assertSame(ours.optimizer.slow_weights, first)
    for replica in range(REPLICAS):
      # A gradient is computed before the optimizer is called.
      step = [0.2 * g for g in _gradient(before[replica], replica, 2)]
      self.assertNear(
        ours.weights(replica), [w - s for w, s in zip(first, step)]
      )

  def test_checkpoints_with_what_replicas_have_of_their_own(self):
    def files(each):
      return (
        tf.train.Checkpoint(model=each.model, optimizer=each.optimizer),
        tf.train.Checkpoint(own=each.optimizer.replica_variables()),
      )

    ours = Replicas(lambda: _local(keras.optimizers.Adam(0.1)))
    ours.train(0, K + 2)
    paths = [each.write(self.new_path("ckpt")) for each in files(ours)]
    ours.train(K + 2, 2 * K + 1)
    again = Replicas(lambda: _local(keras.optimizers.Adam(0.1)), seed=2)
    for each, path in zip(files(again), paths):
      each.read(path).assert_consumed()
    again.train(K + 2, 2 * K + 1)
    for replica in range(REPLICAS):
      self.assertSame(again.weights(replica), ours.weights(replica))
    self.assertSame(again.optimizer.variables, ours.optimizer.variables)

  def test_a_checkpoint_on_another_number_of_replicas(self):
    ours = Replicas(lambda: _local(_sgd()))
    ours.train(0, K + 1)
    checkpoint = tf.train.Checkpoint(model=ours.model, optimizer=ours.optimizer)
    path = checkpoint.write(self.new_path("ckpt"))
    slow = values(ours.optimizer.slow_weights)
    one = make(_local(_sgd()), hidden=3)
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
      model.compile(_local(keras.optimizers.SGD(0.2)), "mse")
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
    ours = Replicas(lambda: _local(_sgd()))
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
      model = make(_local(_sgd()), hidden=3)
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
      inner = _sgd()
      inner.iterations.assign(5)
      optimizer = _local(inner)
    self.assertEqual(keras.ops.convert_to_numpy(optimizer.iterations), 5)


class ArgumentsTest(TestCase):
  @parameterized.parameters(
    ({"local_steps": 1}, TypeError, "`local_steps`.*1"),
    (
      {"inner_state": "average"},
      ValueError,
      "`inner_state='average'`.*local_steps=True",
    ),
    (
      {"local_steps": True, "inner_state": "interpolate"},
      ValueError,
      "`inner_state`.*'average'.*interpolate",
    ),
    (
      {
        "local_steps": True,
        "slow_step_size": lookahead_tf.AdaptiveStepSize(0.1),
        "inner_optimizer": "adam",
      },
      ValueError,
      "`slow_step_size`.*local_steps.*Adaptive",
    ),
    (
      {
        "local_steps": True,
        "sync_period": 1,
        "outer_optimizer": lookahead_tf.gpa("sgd").outer_optimizer,
      },
      ValueError,
      "`outer_optimizer`.*local_steps",
    ),
    (
      {"inner_optimizer": Lookahead("sgd", local_steps=True)},
      ValueError,
      "`inner_optimizer`.*without `local_steps`",
    ),
    (
      {
        "local_steps": True,
        "inner_optimizer": Lookahead(
          "adam", slow_step_size=lookahead_tf.AdaptiveStepSize()
        ),
      },
      ValueError,
      "`inner_optimizer`.*AdaptiveStepSize",
    ),
    (
      {
        "local_steps": True,
        "inner_optimizer": keras.optimizers.SGD(use_ema=True),
      },
      ValueError,
      "`inner_optimizer`.*use_ema",
    ),
  )
  def test_mistakes(self, arguments, kind, message):
    with self.assertRaisesRegex(kind, message):
      Lookahead(**{"inner_optimizer": "sgd"} | arguments)

  def test_float16(self):
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    self.addCleanup(keras.mixed_precision.set_dtype_policy, "float32")
    with (
      replicas.mirrored().scope(),
      self.assertRaisesRegex(ValueError, "`local_steps`.*bfloat16"),
    ):
      _local(_sgd())

  def test_on_one_device_it_changes_nothing(self):
    one, other = (
      make(_local(_sgd()), hidden=3),
      make(Lookahead(_sgd(), K), hidden=3),
    )
    for model in (one, other):
      small_model.train(model, 0, K + 1)
    self.assertSame(one.weights, other.weights)
    self.assertEqual(one.optimizer.replica_variables(), [])
    self.assertEqual(one.optimizer.replica_drift, 0.0)
    config = one.optimizer.get_config()
    self.assertTrue(config["local_steps"])
    self.assertIn("local_steps=True", repr(one.optimizer))


if __name__ == "__main__":
  tf.test.main()
