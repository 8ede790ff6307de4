"""Moving statistics that are synchronized with the slow weights."""

import keras
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead
from tests import replicas, xla
from tests.lookahead_tf import small_model
from tests.lookahead_tf.small_model import state, values
from tests.lookahead_tf.test_case import TestCase

K, ALPHA = 3, 0.6
BACKEND = keras.backend.backend()


def _model(build=True, make_optimizer=None, **arguments):
  """Returns a model with batch normalization, whose statistics follow."""
  keras.utils.set_random_seed(1)
  model = keras.Sequential(
    [keras.Input((small_model.INPUTS,))] * build
    + [
      keras.layers.Dense(3, "tanh"),
      keras.layers.BatchNormalization(momentum=0.5, name="norm"),
      keras.layers.Dense(small_model.OUTPUTS),
    ]
  )
  optimizer = Lookahead(
    keras.optimizers.SGD(0.1), K, ALPHA, statistics=model, **arguments
  )
  model.compile(optimizer, loss="mse")
  return model


def _statistics(model):
  norm = model.get_layer("norm")
  return [norm.moving_mean, norm.moving_variance]


class FollowersTest(TestCase):
  def setUp(self):
    super().setUp()
    if BACKEND == "jax":
      self.skipTest("A step of Keras on JAX returns the statistics.")

  @parameterized.product(
    build=[True, False],
    options=[{}, {"jit_compile": True}],
    pull_back=[1.0, 0.4],
  )
  def test_statistics_are_interpolated(self, build, options, pull_back):
    """The fast ones are those of a model that starts each period anew."""
    if options and BACKEND == "tensorflow":
      xla.require(self)
    model = _model(build, pull_back=pull_back)
    model.compile(model.optimizer, loss="mse", **options)
    small_model.train(model, 0, 1)
    slow = values(_statistics(model))  # The forward pass comes first.
    for step in range(1, K - 1):
      small_model.train(model, step, step + 1)
    # The last step of the period, by a copy that has no Lookahead.
    bare = keras.models.clone_model(model)
    bare.set_weights(model.get_weights())
    bare.compile(keras.optimizers.SGD(0.1), loss="mse")
    for each in (model, bare):
      small_model.train(each, K - 1, K)
    fast = values(_statistics(bare))
    slow = [s + ALPHA * (f - s) for s, f in zip(slow, fast)]
    expected = [s + (1 - pull_back) * (f - s) for s, f in zip(slow, fast)]
    self.assertNear(_statistics(model), expected)

  def test_swapped_with_the_slow_weights_and_back(self):
    model = _model()
    small_model.train(model, 0, K + 1)
    before = state(model)
    fast = values(_statistics(model))
    with lookahead_tf.slow_weights(model):
      self.assertNotAllClose(values(_statistics(model))[0], fast[0])
    self.assertSame(state(model), before)

  def test_a_list_of_models(self):
    models = [_model(), _model()]
    for model, statistics in zip(models, (models[0], [models[1]])):
      model.compile(
        Lookahead("sgd", K, ALPHA, statistics=statistics), loss="mse"
      )
      small_model.train(model, 0, K)
    self.assertSame(state(models[0]), state(models[1]))

  def test_a_model_without_statistics_warns(self):
    model = small_model.make()
    optimizer = Lookahead(keras.optimizers.SGD(0.1), statistics=model)
    with self.assertWarnsRegex(UserWarning, "`statistics` has no moving"):
      optimizer.build(model.trainable_variables)

  def test_statistics_are_given_before_the_build(self):
    model = _model()
    optimizer = Lookahead("sgd")
    optimizer.statistics = model
    optimizer.build(model.trainable_variables)
    self.assertLen([v for v in optimizer.variables if "moving" in v.path], 2)
    optimizer.statistics = model  # As one may after each load.
    with self.assertRaisesRegex(AttributeError, "`statistics`"):
      optimizer.statistics = keras.models.clone_model(model)

  def test_fit_ends_with_the_slow_statistics(self):
    model, other = _model(), _model()
    small_model.fit(model, K + 1)
    small_model.fit(other, K)
    self.assertSame(_statistics(model), values(_statistics(other)))

  def test_exclude_reaches_them(self):
    model = _model(exclude="moving_variance")
    small_model.train(model, 0, K + 1)
    paths = [v.path for v in model.optimizer.variables]
    self.assertTrue([p for p in paths if "moving_mean_slow" in p])
    self.assertFalse([p for p in paths if "moving_variance" in p])

  def test_without_the_option_they_do_not_follow(self):
    model = _model(exclude="moving")
    plain = small_model.make(Lookahead(keras.optimizers.SGD(0.1)))
    self.assertIsNone(plain.optimizer.statistics)
    small_model.train(model, 0, K)
    bare = _model(exclude="moving")
    small_model.train(bare, 0, K - 1)
    before = values(_statistics(bare))
    small_model.train(bare, K - 1, K)
    self.assertSame(_statistics(model), values(_statistics(bare)))
    self.assertNotAllClose(before[0], _statistics(bare)[0])

  @parameterized.parameters("assigned", "callback")
  def test_a_keras_file_goes_on_bit_for_bit(self, how):
    path = self.new_path("model.keras")
    model = _model()
    small_model.train(model, 0, K + 1)
    model.save(path)
    loaded = keras.models.load_model(path)
    self.assertSame(state(loaded), values(state(model)))
    if BACKEND == "tensorflow":  # Elsewhere the forward pass moves them first.
      with self.assertRaisesRegex(RuntimeError, "optimizer.statistics = model"):
        small_model.train(loaded, K + 1, K + 2)
    if how == "assigned":
      loaded.optimizer.statistics = loaded
      for each in (model, loaded):
        small_model.train(each, K + 1, 2 * K + 1)
    else:
      for each in (model, loaded):
        swap = lookahead_tf.SwapSlowWeights()
        small_model.fit(each, 2 * K, callbacks=[swap])
    self.assertSame(state(loaded), values(state(model)))

  def test_tf_checkpoint(self):
    path = self.new_path("checkpoint")
    model, moved = _model(), _model()
    small_model.train(model, 0, K + 1)
    saved = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    moved.optimizer.build(moved.trainable_variables)
    into = tf.train.Checkpoint(model=moved, optimizer=moved.optimizer)
    into.restore(saved.save(path)).assert_consumed()
    for each in (model, moved):
      small_model.train(each, K + 1, 2 * K + 1)
    self.assertSame(state(moved), values(state(model)))

  def test_mistakes(self):
    with self.assertRaisesRegex(TypeError, "`statistics`.*3"):
      Lookahead("sgd", statistics=3)
    with self.assertRaisesRegex(ValueError, "`statistics`.*outer_optimizer"):
      Lookahead("sgd", outer_optimizer="sgd", statistics=small_model.make())
    path = self.new_path("model.keras")
    model = _model()
    small_model.train(model, 0, 1)
    model.save(path)
    loaded = keras.models.load_model(path)
    with self.assertRaisesRegex(ValueError, r"`statistics`.*\(3,\)"):
      loaded.optimizer.statistics = small_model.make()


class RefusalTest(TestCase):
  def test_what_a_backend_cannot_do(self):
    lacking = {"jax": ("statistics", "slow_device"), "torch": ("slow_device",)}
    given = {"statistics": small_model.make(), "slow_device": "host"}
    for name in lacking.get(BACKEND, ()):
      with self.assertRaisesRegex(ValueError, f"`{name}`.*{BACKEND}"):
        Lookahead("sgd", **{name: given[name]})


class HostTest(TestCase):
  def setUp(self):
    super().setUp()
    if BACKEND != "tensorflow":
      self.skipTest("TensorFlow alone has it.")

  @parameterized.parameters(
    {},
    {"slow_momentum": 0.5},
    {"inner_state": "interpolate"},
    {"outer_optimizer": "adam"},
  )
  def test_no_copy_on_the_accelerator(self, **arguments):
    """The second logical device of the CPU stands for an accelerator."""
    replicas.mirrored()  # Which makes two logical devices.

    def train(**more):
      arguments_now = arguments | more
      with tf.device("CPU:1"):
        model = small_model.make(
          Lookahead(keras.optimizers.Adam(0.1), K, **arguments_now),
          hidden=3,
          jit_compile=False,
        )
        small_model.fit(model, 2 * K)
      return model

    on_host, beside = train(slow_device="host"), train()
    self.assertNear(state(on_host), values(state(beside)))
    optimizer = on_host.optimizer
    there = {
      v.path.rsplit("/", 1)[-1]
      for v in optimizer.variables
      if len(v.shape) and "CPU:1" in v.value.device
    }
    self.assertEqual(
      there, {v.path.rsplit("/", 1)[-1] for v in _slots_of_adam(optimizer)}
    )
    for slow in optimizer.slow_weights:
      self.assertIn("CPU:0", slow.value.device)

  def test_on_a_cpu_nothing_changes(self):
    models = [
      small_model.make(Lookahead("adam", K, slow_device=device), hidden=3)
      for device in (None, "host")
    ]
    for model in models:
      small_model.fit(model, K + 1)
    self.assertSame(*[state(model) for model in models])

  def test_mistakes(self):
    with self.assertRaisesRegex(ValueError, "`slow_device`.*'cpu'"):
      Lookahead("sgd", slow_device="cpu")
    strategy = replicas.mirrored()
    with strategy.scope():
      model = small_model.make()
      optimizer = Lookahead("sgd", slow_device="host")
      with self.assertRaisesRegex(ValueError, "`slow_device`.*Mirrored"):
        optimizer.build(model.trainable_variables)
    with tf.device("CPU:1"):
      model = small_model.make(
        Lookahead("sgd", slow_device="host"), jit_compile=True
      )
      with self.assertRaisesRegex(ValueError, "jit_compile=False"):
        small_model.fit(model, 1)


def _slots_of_adam(optimizer):
  return [v for v in optimizer.inner_optimizer.variables if len(v.shape)]


if __name__ == "__main__":
  tf.test.main()
