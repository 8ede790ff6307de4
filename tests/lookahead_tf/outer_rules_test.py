"""Rules on the slow weights against NumPy, on whichever backend Keras has.

KERAS_BACKEND=jax python -m pytest tests/lookahead_tf/outer_rules_test.py
"""

import keras
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead
from lookahead_tf.every_step_rules import EmaNesterov, PrimalAveraging
from tests.lookahead_tf import (
  algorithm1,
  outer_algorithms,
  small_model,
  ways_to_run,
)
from tests.lookahead_tf.small_model import values
from tests.lookahead_tf.test_case import TestCase

RATE, K, STEPS = 0.1, 3, 11


def _schedule(first, last):
  """Returns a line over 4 periods, as a schedule and as a function."""
  schedule = keras.optimizers.schedules.PolynomialDecay(first, 4, last)
  return schedule, lambda t: first + (last - first) * min(t, 4) / 4


_ALPHAS, _ALPHA_AT = _schedule(0.9, 0.3)
_MUS, _MU_AT = _schedule(0.8, 0.2)

# Arguments of Lookahead, and the rule in NumPy.
RULES = {
  "heavy_ball": (
    {"slow_step_size": 0.7, "slow_momentum": 0.6},
    outer_algorithms.momentum(0.7, 0.6, nesterov=False),
  ),
  "nesterov": (
    {"slow_step_size": 0.7, "slow_momentum": 0.6, "slow_nesterov": True},
    outer_algorithms.momentum(0.7, 0.6, nesterov=True),
  ),
  "schedules": (
    {
      "slow_step_size": _ALPHAS,
      "slow_momentum": _MUS,
      "slow_nesterov": True,
    },
    outer_algorithms.momentum(_ALPHA_AT, _MU_AT, nesterov=True),
  ),
  "slowmo": (
    {"slow_step_size": 1.0, "slow_momentum": 0.5},
    outer_algorithms.slowmo(1.0, 0.5, gamma=RATE),
  ),
  "bmuf": (
    {"slow_step_size": 1.0, "slow_momentum": 0.5},
    outer_algorithms.bmuf(1.0, 0.5),
  ),
  "outer_sgd": (
    {
      "outer_optimizer": lambda: keras.optimizers.SGD(
        0.7, momentum=0.6, nesterov=True
      )
    },
    outer_algorithms.momentum_inside(0.7, 0.6, nesterov=True),
  ),
  "extrapolation": (  # phi' = E_t + mu (E_t - E_{t-1}).
    {"slow_step_size": 1.0, "slow_momentum": 0.6, "slow_nesterov": True},
    outer_algorithms.momentum(1.0, 0.6, nesterov=True),
  ),
}


def _lookahead(k=K, inner=None, **arguments):
  """Returns a Lookahead around SGD; optimizers in arguments are made anew."""
  return Lookahead(
    inner or keras.optimizers.SGD(RATE, momentum=0.9),
    k,
    **{
      name: value() if name == "outer_optimizer" and callable(value) else value
      for name, value in arguments.items()
    },
  )


def _train(optimizer, steps=STEPS):
  """Returns a model of two layers after steps by `apply`."""
  model = small_model.make(hidden=3)
  small_model.apply(model, optimizer, 0, steps)
  return model


def _expected(rule, k=K, steps=STEPS, momentum=0.9, **options):
  initial = values(small_model.make(hidden=3).trainable_variables)
  return outer_algorithms.run(
    algorithm1.Sgd(RATE, momentum),
    small_model.gradient,
    initial,
    steps,
    k,
    rule,
    **options,
  )


class RulesTest(TestCase):
  @parameterized.product(rule=[*RULES], pull_back=[1.0, 0.3])
  def test_apply(self, rule, pull_back):
    arguments, in_numpy = RULES[rule]
    optimizer = _lookahead(pull_back=pull_back, **arguments)
    model = _train(optimizer)
    fast, slow, _ = _expected(in_numpy, pull_back=pull_back)
    self.assertNear(model.trainable_variables, fast)
    self.assertNear(optimizer.slow_weights, slow)

  @parameterized.product(
    rule=["outer_sgd", "schedules"],
    way=["function", "function_xla", "stateless_jit", "fit", "fit_loss_scale"],
  )
  def test_ways_to_run(self, rule, way):
    ways_to_run.require(self, way)
    arguments, in_numpy = RULES[rule]
    optimizer = _lookahead(**arguments)
    model = small_model.make(hidden=3)
    ways_to_run.WAYS[way](model, optimizer)
    _, slow, _ = _expected(in_numpy, steps=ways_to_run.STEPS)
    self.assertNear(optimizer.slow_weights, slow)

  @parameterized.product(
    way=["eager", "function_xla", "fit", "stateless_jit"],
    pull_back=[0.0, 0.3],
  )
  def test_pull_back(self, way, pull_back):
    ways_to_run.require(self, way)
    optimizer = _lookahead(pull_back=pull_back)
    ways_to_run.WAYS[way](small_model.make(hidden=3), optimizer)
    _, slow, _ = _expected(
      outer_algorithms.lookahead(0.5),
      steps=ways_to_run.STEPS,
      pull_back=pull_back,
    )
    self.assertNear(optimizer.slow_weights, slow)

  @parameterized.product(
    rule=["nesterov", "outer_sgd"],
    optimizer=["Adam", "AdamW"],
  )
  def test_other_inner_optimizers_only_move_the_end(self, rule, optimizer):
    """The step of a period is that of NumPy from the end which Keras finds."""
    arguments, in_numpy = RULES[rule]
    make = getattr(keras.optimizers, optimizer)
    wrapped = _lookahead(inner=make(0.01), **arguments)
    model = _train(wrapped, 2 * K)
    bare = small_model.make(hidden=3)
    inner = algorithm1.Bare(make(0.01), bare.trainable_variables)
    initial = values(small_model.make(hidden=3).trainable_variables)
    _, slow, _ = outer_algorithms.run(
      inner, small_model.gradient, initial, 2 * K, K, in_numpy
    )
    self.assertNear(model.trainable_variables, slow)

  def test_momentum_of_0_is_lookahead_bit_for_bit(self):
    with_zero = _lookahead(
      slow_step_size=0.7, slow_momentum=0.0, slow_nesterov=True
    )
    plain = _lookahead(slow_step_size=0.7)
    models = [_train(with_zero), _train(plain)]
    self.assertSame(*(model.trainable_variables for model in models))
    self.assertSame(with_zero.variables, plain.variables)

  def test_momentum_that_becomes_0_is_lookahead(self):
    optimizer = _lookahead(slow_step_size=0.7, slow_momentum=0.5)
    optimizer.slow_momentum = 0.0
    self.assertEqual(optimizer.slow_momentum, 0.0)
    model = _train(optimizer)
    fast, _, _ = _expected(outer_algorithms.lookahead(0.7))
    self.assertNear(model.trainable_variables, fast)

  @parameterized.parameters(0.5, 0.9)
  def test_outer_sgd_without_momentum_is_lookahead(self, alpha):
    outer = _lookahead(outer_optimizer=keras.optimizers.SGD(alpha))
    plain = _lookahead(slow_step_size=alpha)
    self.assertNear(
      _train(outer).trainable_variables, _train(plain).trainable_variables
    )
    self.assertNear([outer.slow_step_size], [alpha])

  def test_outer_weight_decay_and_clipping_act_once_a_period(self):
    alpha, decay, limit = 0.5, 0.1, 0.01
    optimizer = _lookahead(
      outer_optimizer=keras.optimizers.SGD(
        alpha, weight_decay=decay, clipnorm=limit
      )
    )

    def rule(phi, s, state):
      norm = (s**2).sum() ** 0.5
      s = s * min(1.0, limit / norm)
      return phi - alpha * decay * phi - alpha * s, state

    fast, _, _ = _expected(rule)
    self.assertNear(_train(optimizer).trainable_variables, fast)

  def test_outer_schedule_counts_periods(self):
    schedule, at = _schedule(0.9, 0.1)
    optimizer = _lookahead(outer_optimizer=keras.optimizers.SGD(schedule))
    model = _train(optimizer)
    fast, _, _ = _expected(outer_algorithms.momentum(at, 0.0, False))
    self.assertNear(model.trainable_variables, fast)
    self.assertNear([optimizer.slow_step_size], [at(STEPS // K)])


class EveryStepTest(TestCase):
  @parameterized.parameters(
    (0.0, 0.9, "apply"),
    (0.5, 0.0, "apply"),
    (0.5, 0.9, "apply"),
    ("schedule", 0.9, "apply"),
    ("schedule", 0.9, "compiled"),
  )
  def test_ema_nesterov(self, lead, decay, way):
    at = lead
    if lead == "schedule":
      lead, at = _schedule(0.6, 0.2)
    optimizer = _lookahead(1, outer_optimizer=EmaNesterov(lead, decay))
    fast, _, states = _expected(
      outer_algorithms.ema_nesterov(at, decay), k=1, steps=7
    )
    model = self._trained(optimizer, way)
    self.assertNear(model.trainable_variables, fast)
    at_end = at(6) if callable(at) else at
    self.assertNear(
      optimizer.slow_weights,
      [w - at_end * m for w, (_, m) in zip(fast, states)],
    )

  @parameterized.parameters(
    (0.0, 0.7, "apply"),
    (0.9, 1.0, "apply"),
    (0.9, 0.7, "apply"),
    (0.9, 0.7, "compiled"),
  )
  def test_primal_averaging(self, mu_x, mu_y, way):
    optimizer = _lookahead(1, outer_optimizer=PrimalAveraging(mu_x, mu_y))
    fast, _, states = _expected(
      outer_algorithms.primal_averaging(mu_x, mu_y), k=1, steps=7
    )
    model = self._trained(optimizer, way)
    self.assertNear(model.trainable_variables, fast)
    self.assertNear(
      optimizer.slow_weights,
      [
        outer_algorithms.averaged_point(w, z, mu_y)
        for w, z in zip(fast, states)
      ],
    )

  def _trained(self, optimizer, way):
    if way == "apply":
      return _train(optimizer, 7)
    compiled = {"tensorflow": "function_xla", "jax": "stateless_jit"}
    model = small_model.make(hidden=3)
    way = compiled.get(ways_to_run.BACKEND, "eager")
    ways_to_run.require(self, way)
    ways_to_run.WAYS[way](model, optimizer)
    return model

  def test_ema_nesterov_without_decay_is_snoo_of_one_step(self):
    ema = _lookahead(1, outer_optimizer=EmaNesterov(0.6, 0.0))
    snoo = _lookahead(
      1, slow_step_size=1.0, slow_momentum=0.6, slow_nesterov=True
    )
    self.assertNear(
      _train(ema).trainable_variables, _train(snoo).trainable_variables
    )

  def test_primal_averaging_with_equal_weights_is_nesterov_sgd(self):
    mu = 0.6
    averaged = _lookahead(
      1,
      keras.optimizers.SGD(RATE / (1 - mu)),
      outer_optimizer=PrimalAveraging(mu, mu),
    )
    nesterov = keras.optimizers.SGD(RATE, momentum=mu, nesterov=True)
    self.assertNear(
      _train(averaged).trainable_variables, _train(nesterov).trainable_variables
    )


if __name__ == "__main__":
  tf.test.main()
