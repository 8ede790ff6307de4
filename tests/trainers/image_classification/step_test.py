import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from trainers.image_classification import step


class NormalizeTest(tf.test.TestCase):
  def test_in_numpy(self):
    images = np.arange(2 * 4 * 4 * 3, dtype="uint8").reshape(2, 4, 4, 3)
    mean, std = (0.1, 0.2, 0.3), (0.25, 0.5, 0.75)
    actual = step.normalize(
      tf.constant(images), step.Objective(2, mean=mean, std=std)
    )
    self.assertEqual(actual.dtype, tf.float32)
    expected = (images / 255 - mean) / std
    self.assertAllClose(actual, expected, rtol=1e-5)


class MeanLogitsTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(*step.TEST_TIME_AUGMENTATIONS)
  def test_in_numpy(self, kind):
    random = np.random.default_rng(0)
    images = random.normal(0, 2, size=(3, 5, 5, 3)).astype("float32")
    kernel = random.normal(size=(75, 4)).astype("float32")

    def logits_of(images):
      return tf.exp(tf.reshape(images, (-1, 75)) @ kernel / 20)

    def numpy_logits(images):
      return np.exp(images.reshape(-1, 75) @ kernel / 20)

    def mirror(images):
      return (numpy_logits(images) + numpy_logits(images[:, :, ::-1])) / 2

    padded = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)], "reflect")
    expected = {
      "none": numpy_logits(images),
      "mirror": mirror(images),
      "mirror_and_shift": mirror(images) / 2
      + mirror(padded[:, :5, :5]) / 4
      + mirror(padded[:, 2:, 2:]) / 4,
    }[kind]
    actual = step.mean_logits(logits_of, tf.constant(images), kind)
    self.assertAllClose(actual, expected, rtol=1e-5)


class LossTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(0.0, 0.1)
  def test_cross_entropy_with_label_smoothing(self, smoothing):
    logits = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    labels = np.array([0, 1, 2, 3, 1])
    targets = (1 - smoothing) * np.eye(4)[labels] + smoothing / 4
    log_softmax = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    self.assertAllClose(
      step.cross_entropy(tf.constant(logits), tf.constant(labels), smoothing),
      -(targets * log_softmax).sum(-1),
    )

  def test_gradient_of_the_penalty_is_pytorchs_weight_decay(self):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with tf.GradientTape() as tape:
      penalty = step.l2_penalty(model, 0.01)
    gradients = tape.gradient(penalty, model.trainable_variables)
    for gradient, variable in zip(gradients, model.trainable_variables):
      self.assertAllClose(gradient, 0.01 * np.array(variable))


if __name__ == "__main__":
  tf.test.main()
