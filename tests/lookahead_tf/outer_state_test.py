"""The state of rules on the slow weights: what starts anew, and what stays."""

import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead
from lookahead_tf.every_step_rules import PrimalAveraging
from tests import replicas
from tests.lookahead_tf import (
  algorithm1,
  noisy_quadratic,
  outer_algorithms,
  small_model,
)
from tests.lookahead_tf.small_model import state, values
from tests.lookahead_tf.test_case import TestCase

K, ETA, MU = 2, 0.7, 0.6


def _sgd():
  return keras.optimizers.SGD(0.1)


KINDS = {
  "momentum": lambda inner, **others: lookahead_tf.snoo(
    inner, K, ETA, MU, **others
  ),
  "outer_adamw": lambda inner, **others: Lookahead(
    inner,
    K,
    outer_optimizer=keras.optimizers.AdamW(0.1, weight_decay=0.1),
    **others,
  ),
  "every_step": lookahead_tf.gpa,
  "average": lambda inner, **others: Lookahead(
    inner, K, pull_back=0.0, **others
  ),
}


def _buffers(optimizer):
  """Returns the momentum of each variable that has some, by its path."""
  return {
    v.path.rsplit("/", 1)[-1].removesuffix("_slow_momentum"): values([v])[0]
    for v in optimizer.own_variables
    if v.path.endswith("_slow_momentum")
  }


def _is_moving(buffers, name):
  (found,) = (value for path, value in buffers.items() if name in path)
  return bool(np.abs(found).max())


class WhatStartsAnewTest(TestCase):
  def test_momentum_goes_on_in_the_next_fit(self):
    model = small_model.make(lookahead_tf.snoo(_sgd(), K, ETA, MU), hidden=3)
    initial = values(model.trainable_variables)
    small_model.fit(model, 2 * K)
    small_model.fit(model, 2 * K)

    def gradient(weights, step):
      return small_model.gradient(weights, step % (2 * K))

    fast, _, _ = outer_algorithms.run(
      algorithm1.Sgd(0.1),
      gradient,
      initial,
      4 * K,
      K,
      outer_algorithms.momentum(ETA, MU, nesterov=True),
    )
    self.assertNear(model.trainable_variables, fast)

  @parameterized.parameters("momentum", "outer_adamw")
  def test_weights_that_are_assigned_start_anew_and_others_do_not(self, kind):
    model = small_model.make(KINDS[kind](_sgd()), hidden=3)
    small_model.fit(model, 2 * K)
    hidden, out = (layer.kernel for layer in model.layers)
    hidden.assign(values([hidden])[0] + 1.0)
    before = values([out])[0]
    lookahead = model.optimizer
    state = _buffers(lookahead)
    small_model.train(model, 0, 1)  # It starts a period.
    if kind == "momentum":
      after = _buffers(lookahead)
      self.assertTrue(_is_moving(state, "hidden_kernel"))
      self.assertFalse(_is_moving(after, "hidden_kernel"))
      self.assertSame(
        [v for k, v in after.items() if "out_kernel" in k],
        [v for k, v in state.items() if "out_kernel" in k],
      )
    else:
      outer = lookahead.outer_optimizer
      index = [v is hidden for v in model.trainable_variables].index(True)
      self.assertAllEqual(outer._momentums[index], np.zeros(hidden.shape))
      self.assertNotAllClose(outer._momentums[2], np.zeros(out.shape))
    self.assertSame([lookahead.slow_of(out)], [before])

  @parameterized.parameters("momentum", "outer_adamw")
  def test_frozen_weights_stay_and_start_anew(self, kind):
    if keras.backend.backend() == "jax":
      self.skipTest("Keras' `fit` on JAX needs a new optimizer then.")
    model = small_model.make(KINDS[kind](_sgd()), hidden=3)
    small_model.fit(model, 3 * K)
    hidden = model.get_layer("hidden")
    frozen = values(hidden.variables)
    trained = values([model.get_layer("out").kernel])
    hidden.trainable = False
    model.compile(model.optimizer, loss="mse")
    small_model.fit(model, 3 * K)
    self.assertSame(hidden.variables, frozen)
    self.assertNotAllClose(model.get_layer("out").kernel, trained[0])
    if kind == "momentum":
      self.assertFalse(_is_moving(_buffers(model.optimizer), "hidden_kernel"))

  def test_variables_without_a_gradient_stay(self):
    model = small_model.make(hidden=3)
    optimizer = lookahead_tf.snoo(_sgd(), K, ETA, MU)
    initial = values(model.trainable_variables)

    def drop(gradients, step):
      del step
      gradients[0] = None

    small_model.apply(model, optimizer, 0, 3 * K, drop)
    self.assertSame(model.trainable_variables[:1], initial[:1])

  def test_an_outer_lookahead_starts_the_inner_one_anew(self):
    inner = lookahead_tf.snoo(_sgd(), K, ETA, MU, name="inner")
    optimizer = Lookahead(inner, 2 * K, name="outer")
    model = small_model.make(hidden=3)
    initial = values(model.trainable_variables)
    small_model.apply(model, optimizer, 0, 4 * K)
    phi = initial
    for start in (0, 2 * K):
      theta, _, _ = outer_algorithms.run(
        algorithm1.Sgd(0.1),
        lambda w, step, start=start: small_model.gradient(w, start + step),
        phi,
        2 * K,
        K,
        outer_algorithms.momentum(ETA, MU, nesterov=True),
      )
      phi = [p + 0.5 * (w - p) for p, w in zip(phi, theta)]
    self.assertNear(model.trainable_variables, phi)


class EvaluationTest(TestCase):
  @parameterized.parameters(*KINDS)
  def test_slow_weights_and_back_changes_nothing(self, kind):
    models = [small_model.make(KINDS[kind](_sgd()), hidden=3) for _ in range(2)]
    for model in models:
      small_model.train(model, 0, 3)
    slow = values(models[0].optimizer.slow_weights)
    with lookahead_tf.slow_weights(models[0]):
      self.assertSame(models[0].trainable_variables, slow)
    for model in models:
      small_model.train(model, 3, 7)
    self.assertSame(*map(small_model.state, models))

  @parameterized.parameters(*KINDS)
  def test_fit_ends_with_the_slow_weights(self, kind):
    model = small_model.make(KINDS[kind](_sgd()), hidden=3)
    small_model.fit(model, 5)
    self.assertSame(model.trainable_variables, model.optimizer.slow_weights)

  def test_an_average_of_each_step_is_that_of_keras(self):
    average = 0.8
    ours = small_model.make(
      Lookahead(_sgd(), 1, 1 - average, pull_back=0.0), hidden=3
    )
    keras_own = small_model.make(
      keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=average), hidden=3
    )
    # Keras starts its average at the weights after the first step.
    small_model.train(ours, 0, 1)
    ours.optimizer.start_period()
    small_model.train(keras_own, 0, 1)
    for model in (ours, keras_own):
      small_model.train(model, 1, 8)
    self.assertNear(ours.trainable_variables, keras_own.trainable_variables)
    self.assertNear(
      ours.optimizer.slow_weights,
      keras_own.optimizer._model_variables_moving_average,
    )

  def test_an_average_that_starts_as_that_of_keras(self):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
      [0], [1.0, 0.2]
    )
    ours, keras_own = (
      small_model.make(optimizer, hidden=3)
      for optimizer in (
        Lookahead(_sgd(), 1, schedule, pull_back=0.0),
        keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.8),
      )
    )
    for model in (ours, keras_own):
      small_model.train(model, 0, 5)
    self.assertNear(
      ours.optimizer.slow_weights,
      keras_own.optimizer._model_variables_moving_average,
    )

  def test_a_running_mean_by_a_schedule(self):
    """Of the initial weights and those at the ends of periods, as SWA has."""
    schedule = keras.optimizers.schedules.InverseTimeDecay(1 / 2, 1, 1 / 2)
    ours = small_model.make(
      Lookahead(_sgd(), K, schedule, pull_back=0.0), hidden=3
    )
    bare = small_model.make(_sgd(), hidden=3)
    points = [values(bare.trainable_variables)]
    for period in range(3):
      small_model.train(bare, period * K, (period + 1) * K)
      points.append(values(bare.trainable_variables))
    small_model.train(ours, 0, 3 * K)
    means = [np.mean(each, axis=0) for each in zip(*points)]
    self.assertNear(ours.optimizer.slow_weights, means)


class WhereTest(TestCase):
  @parameterized.parameters("momentum", "outer_adamw")
  def test_mirrored_strategy_is_one_device(self, kind):
    strategy = replicas.mirrored()
    with strategy.scope():
      mirrored = small_model.make(KINDS[kind](_sgd()), hidden=3)
    single = small_model.make(KINDS[kind](_sgd()), hidden=3)
    for model in (mirrored, single):
      small_model.fit(model, 5, steps_per_epoch=5)
    self.assertNear(mirrored.trainable_variables, single.trainable_variables)
    for model in (mirrored, single):
      small_model.train(model, 5, 8)
    self.assertNear(mirrored.trainable_variables, single.trainable_variables)
    self.assertNear(mirrored.optimizer.variables, single.optimizer.variables)

  @parameterized.parameters("momentum", "outer_adamw", "every_step")
  def test_float16(self, kind):
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    self.addCleanup(keras.mixed_precision.set_dtype_policy, "float32")
    model = small_model.make(KINDS[kind](_sgd()), hidden=3)
    small_model.fit(model, 5)
    self.assertIsInstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    for value in values(model.variables):
      self.assertAllInRange(value, -10.0, 10.0)

  def test_small_steps_add_up_in_slow_weights_of_more_precision(self):
    """bfloat16 weights with slow weights and momentum in float32."""
    variable = keras.Variable(np.ones(4), dtype="bfloat16")
    optimizer = lookahead_tf.snoo(_sgd(), 1, 0.01, 0.5, slow_dtype="float32")
    gradient = keras.ops.full((4,), 0.125, dtype="bfloat16")
    for _ in range(8):
      optimizer.apply([gradient], [variable])
    (slow,) = values(optimizer.slow_weights)
    self.assertAllInRange(slow, 0.99, 0.9995)
    dtypes = {v.path.rsplit("_", 1)[-1]: v.dtype for v in optimizer.variables}
    self.assertEqual(dtypes["momentum"], "float32")

  @parameterized.parameters("momentum", "outer_adamw", "every_step")
  def test_excluded_variables_have_no_state(self, kind):
    model = small_model.make(
      KINDS[kind](_sgd(), exclude=r"hidden/kernel$"), hidden=3
    )
    small_model.fit(model, 4)
    self.assertFalse(
      [v.path for v in model.optimizer.variables if "hidden_kernel" in v.path]
    )
    self.assertLen(
      [slow for slow in model.optimizer.slow_weights if slow is not None], 3
    )


class SchedulesTest(TestCase):
  def test_a_momentum_stays_below_1(self):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.5, 2.0])
    optimizer = lookahead_tf.snoo(_sgd(), 1, 0.5, schedule)
    self.assertEqual(optimizer.slow_momentum, 0.5)
    optimizer.periods_done.assign(5)
    self.assertBetween(optimizer.slow_momentum, 0.999, 0.99999999)


class ArgumentsTest(TestCase):
  @parameterized.parameters(
    ({"slow_momentum": 1.0}, ValueError, "`slow_momentum`.*1.0"),
    ({"slow_momentum": "much"}, TypeError, "`slow_momentum`.*'much'"),
    ({"slow_nesterov": 1}, TypeError, "`slow_nesterov`.*1"),
    ({"pull_back": -0.1}, ValueError, "`pull_back`.*-0.1"),
    ({"pull_back": True}, TypeError, "`pull_back`.*True"),
    ({"outer_optimizer": "sdg"}, ValueError, "`outer_optimizer`.*'sdg'"),
    ({"outer_optimizer": 3}, TypeError, "`outer_optimizer`.*3"),
    (
      {"outer_optimizer": keras.optimizers.SGD},
      TypeError,
      r"`outer_optimizer`.*SGD\(\)",
    ),
    (
      {"outer_optimizer": "sgd", "slow_step_size": 0.5},
      ValueError,
      "`slow_step_size` must be left out",
    ),
    (
      {"outer_optimizer": "sgd", "slow_momentum": 0.5},
      ValueError,
      "`slow_momentum` must be left out",
    ),
    (
      {"outer_optimizer": "sgd", "slow_nesterov": True},
      ValueError,
      "`slow_nesterov` must be left out",
    ),
    (
      {"slow_momentum": 0.5, "inner_state": "interpolate"},
      ValueError,
      "interpolate.*slow_momentum=0.5",
    ),
    (
      {"pull_back": 0.5, "inner_state": "interpolate"},
      ValueError,
      "interpolate.*pull_back=0.5",
    ),
    (
      {
        "slow_momentum": 0.5,
        "slow_step_size": lookahead_tf.AdaptiveStepSize(),
      },
      ValueError,
      "`slow_step_size`.*slow_momentum=0.5",
    ),
  )
  def test_mistakes(self, arguments, error, message):
    with self.assertRaisesRegex(error, message):
      Lookahead(keras.optimizers.Adam(), **arguments)

  def test_outer_optimizers_that_cannot_be(self):
    built = _sgd()
    built.build(noisy_quadratic.variables())
    for outer, message in (
      (Lookahead(_sgd()), "with none inside"),
      (built, "built for other variables"),
      (keras.optimizers.SGD(0.1, use_ema=True), "use_ema"),
      (
        keras.optimizers.SGD(0.1, gradient_accumulation_steps=2),
        "gradient_accumulation_steps",
      ),
    ):
      with self.assertRaisesRegex(ValueError, f"`outer_optimizer`.*{message}"):
        Lookahead(_sgd(), outer_optimizer=outer)

  def test_an_outer_optimizer_that_is_inside(self):
    shared = _sgd()
    for inner in (shared, Lookahead(shared)):
      with self.assertRaisesRegex(ValueError, "`outer_optimizer`.*another"):
        Lookahead(inner, outer_optimizer=shared)

  def test_a_rule_of_each_step_has_periods_of_one(self):
    with self.assertRaisesRegex(ValueError, "`sync_period` must be 1.*5"):
      Lookahead(_sgd(), outer_optimizer=PrimalAveraging())
    optimizer = lookahead_tf.gpa(_sgd())
    with self.assertRaisesRegex(ValueError, "`sync_period` must be 1"):
      optimizer.sync_period = 2
    with self.assertRaisesRegex(ValueError, "`pull_back` must be 1"):
      lookahead_tf.gpa(_sgd(), pull_back=0.5)
    with self.assertRaisesRegex(ValueError, r"`mu_x` must be in \[0, 1\)"):
      lookahead_tf.gpa(_sgd(), mu_x=1.0)

  @parameterized.parameters(
    ("snoo", {"slow_nesterov": False}),
    ("diloco", {"outer_optimizer": "sgd"}),
    ("slowmo", {"slow_nesterov": True, "sync_period": 12}),
    ("ema_nesterov", {"sync_period": 5}),
    ("gpa", {"outer_optimizer": "sgd"}),
  )
  def test_arguments_that_are_those_of_a_method(self, method, arguments):
    name, value = next(iter(arguments.items()))
    with self.assertRaisesRegex(TypeError, f"`{name}`.*{name}={value!r}"):
      getattr(lookahead_tf, method)(_sgd(), **arguments)

  @parameterized.parameters(
    ("slow_nesterov", True),
    ("pull_back", 0.5),
    ("inner_state", "reset"),
    ("outer_optimizer", "sgd"),
  )
  def test_arguments_that_are_given_once(self, name, value):
    optimizer = Lookahead(_sgd())
    with self.assertRaisesRegex(AttributeError, f"`{name}`.*{name}={value!r}"):
      setattr(optimizer, name, value)

  def test_a_step_size_that_is_the_outer_optimizers(self):
    optimizer = Lookahead(_sgd(), outer_optimizer=_sgd())
    with self.assertRaisesRegex(
      TypeError, "`outer_optimizer.learning_rate`.*slow_step_size=0.3"
    ):
      optimizer.slow_step_size = 0.3

  def test_momentum_needs_its_buffers_from_the_beginning(self):
    optimizer = Lookahead(_sgd())
    with self.assertRaisesRegex(AttributeError, "`slow_momentum`.*0.5"):
      optimizer.slow_momentum = 0.5
    optimizer.slow_momentum = 0.0

  def test_a_momentum_that_was_set_to_0_is_saved(self):
    model = small_model.make(lookahead_tf.snoo(_sgd(), K), hidden=3)
    small_model.train(model, 0, K + 1)
    model.optimizer.slow_momentum = 0.0
    path = os.path.join(self.get_temp_dir(), "model.keras")
    model.save(path)
    loaded = keras.models.load_model(path)
    self.assertEqual(loaded.optimizer.slow_momentum, 0.0)
    self.assertTrue(loaded.optimizer.slow_nesterov)
    for each in (model, loaded):
      small_model.train(each, K + 1, 2 * K)
      each.optimizer.slow_momentum = 0.5
      small_model.train(each, 2 * K, 3 * K + 1)
    self.assertSame(state(loaded), state(model))

  def test_a_momentum_by_schedule_is_not_assigned_to(self):
    schedule = keras.optimizers.schedules.PolynomialDecay(0.5, 4)
    optimizer = Lookahead(_sgd(), slow_momentum=schedule)
    self.assertEqual(optimizer.slow_momentum, 0.5)
    with self.assertRaisesRegex(TypeError, "`slow_momentum`.*float"):
      optimizer.slow_momentum = 0.2

  @parameterized.parameters(*KINDS)
  def test_config(self, kind):
    optimizer = KINDS[kind](_sgd())
    again = Lookahead.from_config(optimizer.get_config())
    self.assertEqual(again.get_config(), optimizer.get_config())
    restored = keras.optimizers.deserialize(
      keras.optimizers.serialize(optimizer)
    )
    self.assertEqual(restored.get_config(), optimizer.get_config())

  def test_repr_has_all_settings(self):
    shown = repr(lookahead_tf.snoo(keras.optimizers.SGD(0.1)))
    for setting in (
      *("sync_period=28", "slow_step_size=0.68", "slow_momentum=0.37"),
      *("slow_nesterov=True", "learning_rate=0.1", "SGD("),
    ):
      self.assertIn(setting, shown)
    self.assertIn("mu_x=0.9967", repr(lookahead_tf.gpa("adamw")))


if __name__ == "__main__":
  tf.test.main()
