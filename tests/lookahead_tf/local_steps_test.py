"""Replicas that make the steps of a period by themselves (`local_steps`)."""

import inspect

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
      "sgd": (sgd, lambda: algorithm1.Sgd(0.2, 0.9)),
      "adam": (
        lambda: keras.optimizers.Adam(0.1),
        lambda: algorithm1.Adam(0.1),
      ),
    }[inner]
    steps = 2 * K + 1
    ours = Replicas(lambda: local(make_inner(), **arguments))
    ours.train(0, steps)
    thetas, phi, drift = outer_algorithms.local_steps(
      [make_expected() for _ in range(REPLICAS)],
      gradient_of,
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

    apart = Replicas(lambda: local(inner(), 1, slow_step_size=1.0))
    together = Replicas(inner)
    for each in (apart, together):
      each.train(0, 5)
    self.assertNear(apart.model.weights, together.model.weights)

  @parameterized.parameters(1, 3)
  def test_the_same_data_on_all_replicas_is_one_device(self, k):
    ours = Replicas(lambda: local(keras.optimizers.Adam(0.1), k), True)
    ours.train(0, 7)
    one = train_alone(Lookahead(keras.optimizers.Adam(0.1), k), 7)
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
      local(sgd())

  def test_on_one_device_it_changes_nothing(self):
    one, other = (
      make(local(sgd()), hidden=3),
      make(Lookahead(sgd(), K), hidden=3),
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
