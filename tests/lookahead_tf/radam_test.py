"""RAdam and Ranger against the paper in NumPy, and against PyTorch's RAdam.

KERAS_BACKEND=jax python -m pytest tests/lookahead_tf/radam_test.py
"""

import importlib

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from keras import ops

import lookahead_tf
from lookahead_tf import Lookahead, RAdam, Ranger, radam
from tests import replicas
from tests.lookahead_tf import algorithm1, small_model, ways_to_run
from tests.lookahead_tf.small_model import tensors, values
from tests.lookahead_tf.test_case import TestCase

BACKEND = keras.backend.backend()
SHAPES = {"kernel": (2, 3, 4), "bias": (4,)}
RATE, STEPS = 0.01, 30
OPTIONS = [
  {},
  {"beta_1": 0.0, "beta_2": 0.9, "epsilon": 1e-3},
  {"beta_1": 0.95, "beta_2": 0.99, "sma_threshold": 4.0},
  {"beta_2": 0.0},
  {"beta_2": 0.6},  # The longest average is over 4 gradients.
  {"beta_2": 0.9, "amsgrad": True},
  {"weight_decay": 0.5},
  {"beta_2": 0.9, "gradient_centralization": True},
]


def _variables(dtype="float32"):
  rng = np.random.default_rng(0)
  return [
    keras.Variable(rng.normal(size=shape), dtype=dtype, name=name)
    for name, shape in SHAPES.items()
  ]


def _gradients(steps=STEPS):
  """Returns a list of gradients for each step, the first ones greater."""
  rng = np.random.default_rng(1)
  return [
    [rng.normal(size=shape) / (1 + t / 4) for shape in SHAPES.values()]
    for t in range(steps)
  ]


def _float64(variables):
  return [value.astype("float64") for value in values(variables)]


class RAdamTest(TestCase):
  @parameterized.parameters(*OPTIONS)
  def test_each_step_is_that_of_the_paper(self, **options):
    variables = _variables()
    found, expected = RAdam(RATE, **options), algorithm1.RAdam(RATE, **options)
    weights = _float64(variables)
    for gradients in _gradients():
      found.apply(tensors(gradients), variables)
      weights = expected.update(weights, gradients)
      self.assertNear(variables, weights, 1e-6)

  @parameterized.parameters(0.0, 0.5)
  def test_equals_pytorch(self, weight_decay):
    try:
      torch = importlib.import_module("torch")
    except ImportError:
      self.skipTest("PyTorch is not installed")
    variables = _variables()
    theirs = [torch.tensor(v, requires_grad=True) for v in values(variables)]
    optimizer = torch.optim.RAdam(
      theirs, RATE, weight_decay=weight_decay, decoupled_weight_decay=True
    )
    ours = RAdam(RATE, epsilon=1e-8, weight_decay=weight_decay)
    for gradients in _gradients():
      ours.apply(tensors(gradients), variables)
      for weight, gradient in zip(theirs, gradients):
        weight.grad = torch.tensor(gradient, dtype=torch.float32)
      optimizer.step()
      self.assertNear(variables, [w.detach().numpy() for w in theirs], 1e-6)

  def test_schedule_clipping_and_accumulated_gradients(self):
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([9], [0.1, 0.01])
    variables, gradients = _variables(), _gradients(14)
    optimizer = RAdam(
      rate, beta_2=0.9, clipvalue=0.25, gradient_accumulation_steps=2
    )
    for each in gradients:
      optimizer.apply(tensors(each), variables)
    expected = algorithm1.RAdam(0.1, beta_2=0.9)
    weights = _float64(_variables())
    for t in range(7):
      # Keras gives the schedule the number of calls before this one.
      expected.learning_rate = 0.1 if 2 * t + 1 <= 9 else 0.01
      mean = [(a + b) / 2 for a, b in zip(*gradients[2 * t : 2 * t + 2])]
      weights = expected.update(weights, [g.clip(-0.25, 0.25) for g in mean])
    self.assertNear(variables, weights, 1e-6)

  @parameterized.parameters("bfloat16", "float16")
  def test_16_bits(self, dtype):
    # There .999 rounds to 1 or nearly so.
    narrow, wide = _variables(dtype), _variables()
    for variables in (narrow, wide):
      optimizer = RAdam(0.25)
      optimizer.build(variables)
      for step, gradients in enumerate(_gradients(4)):
        optimizer.iterations.assign(70_000 + step)  # Infinite in float16.
        optimizer.apply(
          [ops.cast(g, variables[0].dtype) for g in tensors(gradients)]
        )
    self.assertNear([ops.cast(v, "float32") for v in narrow], wide, 0.05)
    moved = values(wide)[0] - values(_variables())[0]
    self.assertGreater(np.median(np.abs(moved)), 0.1)

  @parameterized.parameters(0.6, 0.9, 0.99, 0.999, 0.99999)
  def test_length_and_rectification_keep_their_digits_in_float32(self, beta_2):
    rho_inf = 2 / (1 - beta_2) - 1
    for t in [*range(1, 40), *map(int, np.geomspace(40, 1e7, 40))]:
      # In float64, where the formula of the paper is right to 1e-9.
      exact = rho_inf - 2 * t * beta_2**t / (1 - beta_2**t)
      found = radam.effective_length(
        ops.convert_to_tensor(float(t), "float32"), beta_2
      )
      self.assertAllClose(found, exact, 1e-6, 0.0)
      if exact > 4.5:
        found = radam.rectification(found, rho_inf)
        exact = (exact - 4) * (exact - 2) * rho_inf / exact
        exact = np.sqrt(exact / ((rho_inf - 4) * (rho_inf - 2)))
        self.assertAllClose(found, exact, 2e-6, 0.0)

  def test_rows_of_a_sparse_gradient_are_added_up_first(self):
    if BACKEND != "tensorflow":
      self.skipTest(f"gradients of embeddings are dense on {BACKEND}")
    rows = [[t % 3, 2] for t in range(9)]  # In one step twice the same.
    found = [
      self._after_sparse_steps(rows, make)
      for make in (lambda gradient: gradient, tf.convert_to_tensor)
    ]
    self.assertNear(*found)

  def _after_sparse_steps(self, rows, change):
    table = keras.Variable(np.ones((4, 2)), dtype="float32", name="rows")
    optimizer = RAdam(0.1, beta_2=0.9, gradient_centralization=True)
    optimizer.build([table])

    @tf.function
    def step(indices):
      values = tf.constant([[1.0, 2.0], [3.0, 4.0]])
      gradient = tf.IndexedSlices(values, indices, dense_shape=(4, 2))
      optimizer.apply([change(gradient)])

    for indices in rows:
      step(tf.constant(indices))
    return values([table])

  def test_which_gradients_are_centralized(self):
    embedding = keras.layers.Embedding(3, 4)
    embedding.build()
    variables = [*_variables(), *embedding.trainable_variables]
    before = values(variables)
    optimizer = RAdam(1.0, gradient_centralization=True)
    # A constant is what centralization takes away.
    optimizer.apply([ops.ones_like(v.value) for v in variables], variables)
    moved = [np.abs(a - b).max() for a, b in zip(values(variables), before)]
    self.assertAllClose(moved, [0.0, 1.0, 1.0])

  def test_replicas(self):
    if BACKEND != "tensorflow":
      self.skipTest("strategies are TensorFlow's")
    expected, strategy = _variables(), replicas.mirrored()
    bare = RAdam(RATE, beta_2=0.9)
    with strategy.scope():
      variables, optimizer = _variables(), RAdam(RATE, beta_2=0.9)
      optimizer.build(variables)

    @tf.function
    def step(gradients):
      # Keras adds up those of the replicas.
      strategy.run(lambda: optimizer.apply([g / 2 for g in gradients]))

    for gradients in _gradients(12):
      step(tensors(gradients))
      bare.apply(tensors(gradients), expected)
    self.assertNear(variables, expected)
    self.assertCopiesAgree(strategy, variables + optimizer.momentums)

  @parameterized.parameters(
    ({"beta_1": 1.0}, ValueError, r"`beta_1`.*1\).*beta_1=1\.0"),
    ({"beta_2": -0.5}, ValueError, r"`beta_2`.*beta_2=-0\.5"),
    ({"beta_2": "x"}, TypeError, "`beta_2`.*float.*beta_2='x'"),
    ({"epsilon": -1.0}, ValueError, r"`epsilon`.*0.*epsilon=-1\.0"),
    ({"epsilon": float("nan")}, ValueError, "`epsilon`.*epsilon=nan"),
    ({"sma_threshold": 3}, ValueError, "`sma_threshold`.*4.*threshold=3"),
    ({"amsgrad": 1}, TypeError, "`amsgrad`.*True.*amsgrad=1"),
    (
      {"gradient_centralization": None},
      TypeError,
      "`gradient_centralization`.*=None",
    ),
    ({"betas": (0.9, 0.99)}, TypeError, "`betas`.*`beta_1` and `beta_2`.*0.99"),
    ({"eps": 1e-8}, TypeError, "`eps`.*`epsilon`.*1e-08"),
    ({"use_gc": True}, TypeError, "`use_gc`.*`gradient_centralization`.*True"),
  )
  def test_mistakes(self, arguments, error, named):
    for make in (RAdam, Ranger):
      with self.assertRaisesRegex(error, named):
        make(**arguments)

  def test_an_argument_that_is_unknown(self):
    with self.assertRaisesRegex(ValueError, "momentum.*0.9"):
      RAdam(momentum=0.9)


class RangerTest(TestCase):
  def test_is_algorithm_1_around_radam(self):
    variables, optimizer = _variables(), Ranger(RATE)
    gradients = _gradients(14)  # Two periods, and two steps of the third.
    expected, slow = algorithm1.lookahead(
      algorithm1.RAdam(RATE, beta_1=0.95, epsilon=1e-5),
      lambda weights, step: gradients[step],
      _float64(variables),
      steps=14,
      k=6,
      alpha=0.5,
    )
    for each in gradients:
      optimizer.apply(tensors(each), variables)
    self.assertNear(variables, expected, 1e-6)
    self.assertNear(optimizer.slow_weights, slow, 1e-6)

  def test_arguments_of_both(self):
    optimizer = Ranger(
      inner_state="reset", exclude="bias$", clipnorm=2.0, weight_decay=0.25
    )
    self.assertEqual(optimizer.inner_state, "reset")
    optimizer.build(_variables())
    self.assertIsNone(optimizer.slow_weights[1])
    self.assertIsInstance(optimizer.inner_optimizer, RAdam)
    self.assertEqual(optimizer.inner_optimizer.clipnorm, 2.0)
    self.assertEqual(optimizer.inner_optimizer.weight_decay, 0.25)

  @parameterized.parameters(
    ({"k": 6, "alpha": 0.5}, "`k` is `sync_period`.*`alpha` is `slow_step"),
    ({"sync_perod": 6}, "`sync_perod` is `sync_period`.*sync_perod=6"),
    ({"inner_optimizer": "adam"}, "Lookahead.*inner_optimizer='adam'"),
  )
  def test_mistakes(self, arguments, named):
    with self.assertRaisesRegex(TypeError, named):
      Ranger(**arguments)
    with self.assertRaisesRegex(AttributeError, "`k`.*`sync_period`"):
      Ranger().k = 6

  def test_adaptive_step_size(self):
    optimizer = Ranger(0.1, 2, lookahead_tf.AdaptiveStepSize(0.25))
    variables = _variables()
    for gradients in _gradients(8):
      optimizer.apply(tensors(gradients), variables)
    self.assertBetween(optimizer.slow_step_size, 0.25, 1.0)

  def test_mixed_precision(self):
    model = keras.Sequential(
      [keras.Input((4,)), keras.layers.Dense(2, dtype="mixed_float16")]
    )
    model.compile(
      keras.optimizers.LossScaleOptimizer(
        Ranger(0.1, sync_period=3), initial_scale=4.0
      ),
      loss="mse",
    )
    before = values(model.weights)
    small_model.train(model, 0, 7)
    self.assertEqual(model.weights[0].dtype, "float32")
    for found, value in zip(values(model.weights), before):
      self.assertTrue(np.isfinite(found).all())
      self.assertNotAllClose(found, value)


class SavingTest(TestCase):
  def _model(self):
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    optimizer = Ranger(rate, 3, beta_2=0.9, amsgrad=True, weight_decay=0.1)
    return small_model.make(optimizer)

  @parameterized.parameters("model.keras", "model.weights.h5", "checkpoint")
  def test_goes_on_bit_for_bit(self, file):
    if file == "checkpoint" and BACKEND != "tensorflow":
      self.skipTest("tf.train.Checkpoint is TensorFlow's")
    path, model = self.new_path(file), self._model()
    small_model.train(model, 0, 4)  # In the middle of a period.
    if file == "model.keras":
      model.save(path)
      other = keras.models.load_model(path)
    elif file == "model.weights.h5":
      model.save_weights(path)
      other = self._model()
      other.load_weights(path)
    else:
      other = self._model()
      saved, restored = (
        tf.train.Checkpoint(model=m, optimizer=m.optimizer)
        for m in (model, other)
      )
      restored.restore(saved.save(path)).assert_consumed()
    self.assertIsInstance(other.optimizer, Ranger)
    for each in (model, other):
      small_model.train(each, 4, 8)
    self.assertSame(small_model.state(other), small_model.state(model))

  @parameterized.parameters(
    lambda rate: RAdam(
      rate, 0.5, 0.75, 0.125, True, 4.5, True, 0.25, clipvalue=2.0, name="own"
    ),
    lambda rate: Ranger(
      rate, 4, 0.25, 0.5, 0.75, 0.125, 4.5, True, 0.25, "own", amsgrad=True
    ),
    lambda rate: Lookahead(RAdam(rate, beta_1=0.5)),
  )
  def test_config(self, make):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.5)
    for rate in (0.5, schedule):
      optimizer = make(rate)
      config = keras.optimizers.serialize(optimizer)
      copy = keras.optimizers.deserialize(config)
      self.assertIs(type(copy), type(optimizer))
      self.assertEqual(copy.get_config(), optimizer.get_config())
      # The paths of variables are what OrbaxCheckpoint restores by.
      for each in (optimizer, copy):
        each.build(_variables())
      self.assertEqual(
        [v.path for v in copy.variables],
        [v.path for v in optimizer.variables],
      )

  @parameterized.parameters("RAdam", "Ranger")
  def test_by_name(self, name):
    optimizer = keras.optimizers.get(f"lookahead_tf>{name}")
    self.assertIs(type(optimizer), getattr(lookahead_tf, name))

  def test_names_are_those_that_keras_would_make(self):
    first, second = Ranger(), Ranger()
    self.assertRegex(first.name, r"^ranger(_\d+)?$")
    self.assertNotEqual(first.name, second.name)

  def test_prints_its_settings(self):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.25)
    shown = repr(Ranger(schedule, weight_decay=0.125))
    for setting in (
      *("sync_period=6", "slow_step_size=0.5", "beta_1=0.95", "beta_2=0.999"),
      *("epsilon=1e-05", "sma_threshold=5.0", "weight_decay=0.125"),
      *("gradient_centralization=False", "inner_state='maintain'"),
      "learning_rate=ExponentialDecay(initial_learning_rate=0.5",
    ):
      self.assertIn(setting, shown)
    self.assertStartsWith(shown, "Ranger(")
    self.assertIn("learning_rate=0.001,", repr(RAdam()))

  def test_prints_its_settings_while_a_step_is_traced(self):
    if BACKEND != "tensorflow":
      self.skipTest("other backends trace nothing that prints")
    optimizer, shown = RAdam(0.5), []
    tf.function(lambda: shown.append(repr(optimizer)))()
    self.assertIn("learning_rate=0.5", shown[0])


class StatelessTest(TestCase):
  def test_stateless_apply(self):
    ways_to_run.require(self, "stateless")
    apply = ways_to_run.apply_stateless
    if BACKEND == "jax":
      apply = ways_to_run.apply_stateless_jit
    variables, gradients = _variables(), _gradients(12)
    optimizer, expected = RAdam(RATE, beta_2=0.9), algorithm1.RAdam(RATE)
    expected.beta_2 = 0.9
    weights = _float64(variables)
    for each in gradients:
      weights = expected.update(weights, each)
    apply(optimizer, variables, lambda _, step: gradients[step], 12)
    self.assertNear(variables, weights, 1e-6)


if __name__ == "__main__":
  tf.test.main()
