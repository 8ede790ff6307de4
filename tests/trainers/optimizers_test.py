import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead
from tests import replicas
from trainers import devices, optimizers
from trainers.errors import UserError

_RATE = keras.optimizers.schedules.CosineDecay(0.1, 10)


def _make(name="sgd", arguments=None, lookahead=None, replicas=1):
  return optimizers.make_optimizer(
    optimizers.Recipe(name, arguments or {}, lookahead),
    _RATE,
    replicas,
  )


def _check(name, arguments=None, lookahead=None, replicas=1):
  optimizers.check(
    optimizers.Recipe(name, arguments or {}, lookahead), replicas
  )


class OptimizersTest(tf.test.TestCase):
  def test_inner_optimizer_with_its_arguments(self):
    optimizer = _make("AdamW", {"weight_decay": 0.5, "beta_1": 0.8})
    self.assertIsInstance(optimizer, keras.optimizers.AdamW)
    self.assertEqual(optimizer.weight_decay, 0.5)
    self.assertEqual(optimizer.beta_1, 0.8)
    self.assertAllClose(optimizer.learning_rate, 0.1)

  def test_lookahead_around_it(self):
    optimizer = _make(
      "sgd", {"momentum": 0.9}, {"sync_period": 7, "exclude": ["bias"]}
    )
    self.assertIsInstance(optimizer, Lookahead)
    self.assertEqual(optimizer.sync_period, 7)
    self.assertEqual(optimizer.inner_optimizer.momentum, 0.9)

  def test_a_slow_step_size_that_falls(self):
    recipe = optimizers.Recipe(
      "sgd",
      {"gradient_accumulation_steps": 2},
      {
        "sync_period": 1,
        "slow_step_size": 0.9,
        "final_slow_step_size": 0.5,
        "fall_power": 2.0,
      },
      total_steps=8,
    )
    optimizer = optimizers.make_optimizer(recipe, 1e-3)
    variable = keras.Variable([2.0])
    seen = []
    for _ in range(8):
      optimizer.apply([tf.zeros(1)], [variable])
      seen.append(float(optimizer.last_step_size))
    # Four updates: 1/16, 4/16, 9/16 and all of the fall.
    expected = [0.875, 0.8, 0.675, 0.5]
    self.assertAllClose(seen[1::2], expected)

  def test_moving_statistics_follow_if_they_are_to(self):
    for follows in (True, False):
      fields = {"sync_period": 2, "synchronize_statistics": follows}
      optimizer = _make(lookahead=fields)
      model = keras.Sequential(
        [keras.Input((2,)), keras.layers.BatchNormalization()]
      )
      optimizers.build(optimizer, model, synchronize_statistics=follows)
      paths = [v.path for v in optimizer.variables]
      found = [path for path in paths if "moving_mean_slow" in path]
      self.assertLen(found, int(follows))

  def test_limits_of_the_gradient_are_kept_for_one_replica_alone(self):
    arguments = {"momentum": 0.9, "clipnorm": 1.0}
    self.assertEqual(_make("sgd", arguments).clipnorm, 1.0)
    optimizer = _make("sgd", arguments, replicas=2)
    self.assertIsNone(optimizer.clipnorm)
    self.assertEqual(optimizer.momentum, 0.9)

  def test_float16_scales_the_loss_outside(self):
    self.addCleanup(keras.config.set_dtype_policy, "float32")
    keras.config.set_dtype_policy("mixed_float16")
    optimizer = _make(lookahead={"sync_period": 5})
    self.assertIsInstance(optimizer, keras.optimizers.LossScaleOptimizer)
    self.assertIsInstance(optimizer.inner_optimizer, Lookahead)

  def test_mistakes(self):
    for arguments, message in (
      (("sgdd",), "Received: 'sgdd'"),
      (("sgd", {"momentun": 0.9}), "momentun"),
      (("sgd", {"momentum": -1.0}), "momentum"),
      (("sgd", {"clipnorm": -1.0}), "clipnorm"),
      (("sgd", {"gradient_accumulation_steps": 1}), "accumulation_steps=1"),
      (("sgd", {}, {"sync_period": 0}), "sync_period=0"),
      (("sgd", {}, {"slow_step_size": 2.0}), "slow_step_size=2.0"),
      (("sgd", {}, {"inner_state": "keep"}), "inner_state='keep'"),
      (
        ("sgd", {}, {"inner_state": "interpolate", "slow_momentum": 0.9}),
        "slow_momentum=0",
      ),
      (
        ("sgd", {}, {"synchronize_statistics": "yes"}),
        "lookahead.synchronize_statistics must.*'yes'",
      ),
      (("sgd", {}, {"final_slow_step_size": 2.0}), "final_slow_step_size.*2.0"),
      (("sgd", {"use_ema": True}, {"sync_period": 5}), "exclude each other"),
      (("nt_asgd", {}, {"sync_period": 5}), "'nt_asgd' and lookahead exclude"),
      (("nt_asgd", {"patience": 0}), "patience.*0"),
      (
        ("sgd", {"use_ema": True, "ema_overwrite_frequency": 3}, None, 2),
        "on one device only, and there are 2",
      ),
    ):
      with self.assertRaisesRegex(UserError, message):
        _check(*arguments)

  def test_names_are_those_without_a_check(self):
    names = []
    for is_checked in (False, True):
      keras.backend.clear_session()  # Keras counts anew.
      if is_checked:
        _check("sgd", {}, {"sync_period": 5})
      optimizer = _make(lookahead={"sync_period": 5})
      names.append((optimizer.name, optimizer.inner_optimizer.name))
    self.assertEqual(*names)

  def test_weights_to_evaluate(self):
    for lookahead, expected in ((None, 0.9), ({"sync_period": 5}, 1.0)):
      model = keras.Sequential(
        [
          keras.Input((1,)),
          keras.layers.Dense(1, use_bias=False, kernel_initializer="ones"),
        ]
      )
      optimizer = _make(lookahead=lookahead)
      optimizer.apply([tf.ones((1, 1))], model.trainable_variables)
      with optimizers.weights_to_evaluate(model, optimizer):
        inside = np.array(model.trainable_variables[0])
      self.assertAllClose(inside, [[expected]])
      self.assertAllClose(model.trainable_variables[0], [[0.9]])


# The two halves of a gradient, one on each replica: of their sum one tensor is
# longer than 1, and neither half is.
_PARTS = (
  ([0.6, -0.3], [[0.2]]),
  ([0.6, -0.9], [[-0.1]]),
)


def _apply_on_two_replicas(arguments):
  """Returns variables after an SGD step from 0 with a learning rate of 1."""
  strategy = replicas.mirrored()
  clip = optimizers.Clipping(arguments, 2)
  with strategy.scope():
    variables = [keras.Variable(tf.zeros(s)) for s in ((2,), (1, 1), (3,))]
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build(variables)
  parts = [[tf.constant(x) for x in part] for part in _PARTS]

  @tf.function
  def step():
    def one_replica():
      context = tf.distribute.get_replica_context()
      first = tf.equal(context.replica_id_in_sync_group, 0)
      mine = [tf.where(first, a, b) for a, b in zip(*parts)]
      optimizer.apply(clip([*mine, None]), variables)

    strategy.run(one_replica)

  step()
  return [np.array(v) for v in variables]


class ClippingTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters("clipnorm", "global_clipnorm", "clipvalue")
  def test_two_replicas_do_what_keras_does_on_one(self, name):
    variables = [keras.Variable(tf.zeros(s)) for s in ((2,), (1, 1), (3,))]
    optimizer = keras.optimizers.SGD(1.0, **{name: 0.5})
    total = [tf.constant(a) + tf.constant(b) for a, b in zip(*_PARTS)]
    optimizer.apply([*total, None], variables)
    for one, two in zip(variables, _apply_on_two_replicas({name: 0.5})):
      self.assertAllClose(np.array(one), two, rtol=1e-6)

  def test_no_limit(self):
    actual = _apply_on_two_replicas({})
    self.assertAllClose(actual[0], [-1.2, 1.2])

  def test_one_replica_leaves_it_to_keras(self):
    given = [tf.constant([3.0])]
    clipped = optimizers.Clipping({"clipnorm": 1.0}, 1)(given)
    self.assertIs(clipped[0], given[0])

  @parameterized.parameters(
    ({"clipnorm": 1.0, "clipvalue": 1.0},), ({"global_clipnorm": -1.0},)
  )
  def test_mistakes(self, arguments):
    with self.assertRaisesRegex(UserError, "one positive limit"):
      optimizers.Clipping(arguments, 2)


class MovingAverageTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.addCleanup(keras.config.set_dtype_policy, "float32")
    self.random = np.random.default_rng(0)

  def _model(self):
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])

  def _inside(self, model, optimizer):
    """Returns the weights to evaluate; those from before come back exactly."""
    before = [v.numpy().tobytes() for v in model.trainable_variables]
    with optimizers.weights_to_evaluate(model, optimizer):
      inside = [v.numpy() for v in model.trainable_variables]
    after = [v.numpy().tobytes() for v in model.trainable_variables]
    self.assertEqual(before, after)
    return inside

  @parameterized.parameters("float32", "float16")
  def test_is_evaluated(self, precision):
    devices.set_precision(precision)
    arguments = {"momentum": 0.9, "use_ema": True, "ema_momentum": 0.8}
    optimizer = _make("sgd", arguments)
    model = self._model()
    optimizer.build(model.trainable_variables)
    apply = tf.function(lambda g: optimizer.apply(g, model.trainable_variables))
    scale = 1.0
    for i in range(5):
      weights = [v.numpy() for v in model.trainable_variables]
      if i == 0:
        averages = weights  # There is none yet.
      self.assertAllClose(self._inside(model, optimizer), averages)
      if precision == "float16":
        scale = float(optimizer.dynamic_scale.numpy())
      gradients = [self.random.normal(size=w.shape) for w in weights]
      if i == 2 and precision == "float16":
        gradients[0][0] = np.inf  # An overflow: nothing may change.
        apply([tf.constant(g, tf.float32) for g in gradients])
        self.assertAllClose(self._inside(model, optimizer), averages)
        self.assertAllEqual(weights[0], model.trainable_variables[0])
        continue
      apply([tf.constant(scale * g, tf.float32) for g in gradients])
      weights = [v.numpy() for v in model.trainable_variables]
      if i == 0:
        averages = weights  # Keras begins with the first weights.
      averages = [0.8 * a + 0.2 * w for a, w in zip(averages, weights)]
    inside = self._inside(model, optimizer)
    self.assertAllClose(inside, averages)
    self.assertNotAllClose(inside, weights, atol=1e-3)

  def test_comes_back_after_an_error(self):
    optimizer = _make("sgd", {"use_ema": True})
    model = self._model()
    for _ in range(2):
      optimizer.apply(
        [tf.ones(v.shape) for v in model.trainable_variables],
        model.trainable_variables,
      )
    before = [v.numpy() for v in model.trainable_variables]
    with (
      self.assertRaises(KeyError),
      optimizers.weights_to_evaluate(model, optimizer),
    ):
      raise KeyError
    for a, b in zip(before, model.trainable_variables):
      self.assertAllEqual(a, b)

  def test_two_replicas_have_the_average_of_one(self):
    one, two = (
      self._train_on(strategy)
      for strategy in (
        tf.distribute.OneDeviceStrategy("CPU:0"),
        replicas.mirrored(),
      )
    )
    self.assertAllClose(one, two)

  def _train_on(self, strategy):
    """Returns the averages after four steps."""
    keras.utils.set_random_seed(1)
    count = strategy.num_replicas_in_sync
    with strategy.scope():
      model = self._model()
      optimizer = _make(
        "sgd", {"momentum": 0.9, "use_ema": True}, replicas=count
      )
      optimizer.build(model.trainable_variables)
    variables = model.trainable_variables

    def one_replica():
      optimizer.apply([v.value / count for v in variables], variables)

    step = tf.function(lambda: strategy.run(one_replica))
    for _ in range(4):
      step()
    averages = self._inside(model, optimizer)
    for variable in variables:  # The same on each replica.
      parts = getattr(variable.value, "values", [variable.value])
      self.assertLen(parts, count)
      self.assertAllEqual(parts[0], parts[-1])
    return averages


if __name__ == "__main__":
  tf.test.main()
