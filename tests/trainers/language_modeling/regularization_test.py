import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests import replicas
from tests.trainers.language_modeling import tiny
from trainers.language_modeling.regularization import (
  Masks,
  Penalties,
  Rates,
)

_RATES = Rates(words=0.1, inputs=0.65, hidden=0.3, outputs=0.4, weights=0.5)


def _all(seed=0, step=0, rates=_RATES):
  masks = Masks(rates, seed, tf.constant(step))
  return {
    "words": (masks.words(5_000), (5_000, 1)),
    "inputs": (masks.inputs(50, 100), (1, 50, 100)),
    "hidden 0": (masks.hidden(0, 50, 100), (1, 50, 100)),
    "hidden 1": (masks.hidden(1, 50, 100), (1, 50, 100)),
    "outputs": (masks.outputs(50, 100), (1, 50, 100)),
    "weights 0": (masks.weights(0, (50, 100)), (50, 100)),
    "weights 1": (masks.weights(1, (50, 100)), (50, 100)),
  }


class MasksTest(tf.test.TestCase, parameterized.TestCase):
  def test_rates_shapes_and_scale(self):
    for name, (mask, shape) in _all().items():
      rate = getattr(_RATES, name.split()[0])
      self.assertEqual(mask.shape, shape, name)
      values = np.unique(mask)
      self.assertAllClose(values, [0, 1 / (1 - rate)])
      self.assertAllClose(np.mean(mask == 0), rate, atol=0.03)

  def test_each_is_another_in_each_step_and_for_each_seed(self):
    drawn = [
      np.ravel(mask[0] if name == "words" else mask) > 0
      for seed, step in ((0, 0), (0, 1), (1, 0), (2**32 - 2, 7))
      for name, (mask, _) in _all(seed, step).items()
    ]
    drawn = [mask for mask in drawn if mask.size == 5_000]
    for i, one in enumerate(drawn):
      for other in drawn[:i]:
        # Of independent masks: not far from the product of the rates.
        both = np.mean(one) * np.mean(other)
        self.assertAllClose(np.mean(one & other), both, atol=0.04)
    again = _all(0, 1)["inputs"][0]
    self.assertAllEqual(np.ravel(again) > 0, drawn[7 - 1])

  def test_without_rates_there_are_none(self):
    for mask, _ in _all(rates=Rates()).values():
      self.assertIsNone(mask)

  def test_replicas_share_the_masks_of_one(self):
    strategy = replicas.mirrored()

    @tf.function
    def run():
      def one_replica():
        masks = Masks(tiny.RATES, 3, tf.constant(4), replicas=2)
        return masks.inputs(5, 4)[0], masks.weights(0, (6, 24))

      return strategy.run(one_replica)

    inputs, weights = map(strategy.experimental_local_results, run())
    whole = Masks(tiny.RATES, 3, tf.constant(4))
    self.assertAllEqual(np.concatenate(inputs), whole.inputs(10, 4)[0])
    for part in weights:
      self.assertAllEqual(part, whole.weights(0, (6, 24)))


class PenaltiesTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(7, 5, 2)
  def test_means_of_squares(self, size):
    random = np.random.default_rng(0)
    outputs = random.normal(size=(7, 3, 4)).astype("float32")
    dropped = outputs * (random.random((1, 3, 4)) > 0.5) * 2
    steps = [outputs[t + 1] - outputs[t] for t in range(size - 1)]
    expected = 2 * np.mean(dropped[:size] ** 2) + 0.5 * np.mean(
      np.square(steps)
    )
    penalty = Penalties(activation=2.0, temporal=0.5)
    found = penalty(tf.constant(outputs), dropped, tf.constant(size))
    self.assertAllClose(found, expected)

  def test_one_step_has_no_difference(self):
    for steps in (1, 3):
      ones = tf.ones((steps, 2, 3))
      size = tf.constant(1)
      self.assertAllClose(Penalties(2.0, 1.0)(ones, ones, size), 2.0)
      self.assertAllClose(Penalties()(ones, ones, size), 0.0)


if __name__ == "__main__":
  tf.test.main()
