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
    (X, r"batch of shape \(4,\)"),
    ((X, X[:, :1]), r"batch of shape \(50, 1\)"),
    (tf.data.Dataset.from_tensor_slices((X, X)), r"batch of shape \(4,\)"),
    ([[1.0, 2.0]], "batch of shape 1.0, 2.0"),
    ("data.csv", "data='data.csv'"),
    (None, "data=None"),
    ({"x": X[:2]}, "data={'x': "),
  )
  def test_what_is_no_batches(self, data, received):
    model = _model()
    (norm,) = [x for x in model.layers if hasattr(x, "moving_mean")]
    before = norm.moving_mean.numpy()
    with self.assertRaisesRegex(
      (TypeError, ValueError), rf"`data` must yield .*\[x\]\. .*{received}"
    ):
      recompute_batch_norm(model, data)
    self.assertAllEqual(norm.moving_mean, before)


if __name__ == "__main__":
  tf.test.main()
