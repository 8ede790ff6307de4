import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead, recompute_batch_norm

X = np.random.default_rng(0).normal(2.0, 3.0, size=(50, 4)).astype("float32")


def _model():
  keras.utils.set_random_seed(1)
  inner = keras.Sequential(
    [keras.Input((3,)), keras.layers.BatchNormalization(name="nested")]
  )
  model = keras.Sequential(
    [
      keras.Input((4,)),
      keras.layers.Dense(3),
      keras.layers.BatchNormalization(name="first"),
      inner,
      keras.layers.Dense(1),
    ]
  )
  model.compile(Lookahead(keras.optimizers.SGD(0.01)), loss="mse")
  return model


class Subclass(keras.Model):
  """Has no inputs that Keras knows of."""

  def __init__(self):
    super().__init__()
    self.norm = keras.layers.BatchNormalization()

  def call(self, x, training=False):
    return self.norm(x, training=training)


class Batches(keras.utils.PyDataset):
  def __len__(self):
    return 2

  def __getitem__(self, index):
    return X[25 * index : 25 * index + 25], X[:25, :1]


class RecomputeBatchNormTest(tf.test.TestCase, parameterized.TestCase):
  def test_mean_and_variance_over_batches_of_any_size(self):
    model = _model()
    dataset = tf.data.Dataset.from_tensor_slices((X, X[:, :1])).batch(16)
    recompute_batch_norm(model, dataset)
    hidden = X @ model.layers[0].kernel.numpy() + model.layers[0].bias.numpy()
    layer = model.get_layer("first")
    self.assertAllClose(layer.moving_mean, hidden.mean(0), 1e-5, 1e-5)
    self.assertAllClose(layer.moving_variance, hidden.var(0), 1e-5, 1e-5)
    # The next layer sees what each batch was normalised to.
    nested = model.layers[2].get_layer("nested")
    self.assertAllClose(nested.moving_mean, np.zeros(3), atol=1e-5)
    self.assertAllClose(nested.moving_variance, np.ones(3), 1e-2, 1e-2)
    self.assertEqual(layer.momentum, 0.99)

  def test_of_the_slow_weights_and_undone_with_them(self):
    model = _model()
    model.fit(X, X[:, :1], batch_size=8, verbose=0)
    for _ in range(2):
      model.train_on_batch(X, X[:, :1])
    layer = model.get_layer("first")
    before = layer.moving_mean.numpy()
    with lookahead_tf.slow_weights(model):
      recompute_batch_norm(model, [X[:30], X[30:]])
      hidden = X @ model.layers[0].kernel.numpy() + model.layers[0].bias.numpy()
      self.assertAllClose(layer.moving_mean, hidden.mean(0), 1e-5, 1e-5)
    self.assertAllEqual(layer.moving_mean.numpy(), before)

  def test_frozen_layers_are_left_alone(self):
    model = _model()
    model.get_layer("first").trainable = False
    recompute_batch_norm(model, [X])
    self.assertAllEqual(model.get_layer("first").moving_mean, np.zeros(3))
    nested = model.layers[2].get_layer("nested")
    self.assertNotAllClose(nested.moving_mean, np.zeros(3))

  def test_an_error_leaves_everything_as_it_was(self):
    model = _model()
    with self.assertRaises(ZeroDivisionError):
      recompute_batch_norm(model, (1 / 0 if i else X for i in range(2)))
    layer = model.get_layer("first")
    self.assertAllEqual(layer.moving_mean, np.zeros(3))
    self.assertEqual(layer.momentum, 0.99)

  def test_no_data(self):
    with self.assertRaisesRegex(ValueError, "`data`.*batch"):
      recompute_batch_norm(_model(), [])

  @parameterized.parameters(
    (X, r"an array of shape \(50, 4\)\."),
    (X[0], r"an array of shape \(4,\)\."),
    (tf.constant(X), r"an array of shape \(50, 4\)\."),
    ((X, X[:, :1]), r"a tuple of arrays of shapes \(50, 4\), \(50, 1\)\."),
    ([X, X[:, 0]], r"a batch of shape \(50,\), where .* \(None, 4\)\."),
    ([[X, X[:, :1]]], r"a batch of arrays of shapes \(50, 4\), \(50, 1\), "),
    ([[1.0, 2.0]], "a batch of type list"),
    ("data.csv", "'data.csv'"),
    (None, "None"),
    ({"x": X}, "an object of type dict"),
    (len, "an object of type builtin_function_or_method"),
  )
  def test_what_is_no_batches(self, data, received):
    with self.assertRaisesRegex(
      (TypeError, ValueError),
      r"^`data` must yield batches of inputs.*\[x\]\. Received: " + received,
    ):
      recompute_batch_norm(_model(), data)

  @parameterized.product(
    data=[
      X,
      (X, X[:, 0]),
      tf.data.Dataset.from_tensor_slices(X),
      tf.data.Dataset.from_tensor_slices((X, X[:, 0])),
    ],
    is_subclass=[False, True],
  )
  def test_single_examples(self, data, is_subclass):
    model = Subclass() if is_subclass else _model()
    if is_subclass:
      model(X)
    with self.assertRaisesRegex(ValueError, "`data` must yield batches"):
      recompute_batch_norm(model, data)
    (norm, *_) = [x for x in model.layers if hasattr(x, "moving_mean")]
    self.assertAllEqual(norm.moving_mean, np.zeros(norm.moving_mean.shape))

  def test_x_and_y_for_a_model_that_could_take_both(self):
    model = keras.Sequential(
      [keras.Input((1,)), keras.layers.BatchNormalization()]
    )
    with self.assertRaisesRegex(ValueError, "a tuple of arrays of shapes"):
      recompute_batch_norm(model, (X[:, :1], X[:, 0]))

  @parameterized.product(
    data=[
      [X[:25], X[25:]],
      (X[:25], X[25:]),
      X.reshape(2, 25, 4),
      [(X[:25], X[:25, 0]), (X[25:], X[:25, 0])],
      [[X[:25]], [X[25:]]],
      tf.data.Dataset.from_tensor_slices(X).batch(25),
      Batches(),
    ],
    is_subclass=[False, True],
  )
  def test_all_forms_of_batches(self, data, is_subclass):
    model = Subclass()
    if not is_subclass:
      model = keras.Sequential([keras.Input((4,)), model.norm])
    elif isinstance(data, list) and isinstance(data[0], list):
      self.skipTest("A model with a `call` of its own takes no list.")
    model(X)
    recompute_batch_norm(model, data)
    norm = model.norm if is_subclass else model.layers[0]
    self.assertAllClose(norm.moving_mean, X.mean(0), 1e-5, 1e-5)
    self.assertAllClose(norm.moving_variance, X.var(0), 1e-5, 1e-5)

  def test_generators_and_several_inputs(self):
    a, b = keras.Input((4,), name="a"), keras.Input((1,), name="b")
    norm = keras.layers.BatchNormalization()
    model = keras.Model([a, b], keras.layers.Add()([norm(a), b]))
    for inputs in ([X, X[:, :1]], {"a": X, "b": X[:, :1]}):
      recompute_batch_norm(model, (inputs for _ in range(2)))
      self.assertAllClose(norm.moving_mean, X.mean(0), 1e-5, 1e-5)
    with self.assertRaisesRegex(ValueError, "an array of shape"):
      recompute_batch_norm(model, X)


if __name__ == "__main__":
  tf.test.main()
