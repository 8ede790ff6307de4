import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests import replicas
from trainers import gradients
from trainers.errors import UserError

# The two halves of a gradient, one on each replica: of their sum one tensor is
# longer than 1, and neither half is.
_PARTS = (
  ([0.6, -0.3], [[0.2]]),
  ([0.6, -0.9], [[-0.1]]),
)


def _apply_on_two_replicas(arguments):
  """Returns variables after an SGD step from 0 with a learning rate of 1."""
  strategy = replicas.mirrored()
  clip = gradients.Clipping(arguments, 2)
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
    clipped = gradients.Clipping({"clipnorm": 1.0}, 1)(given)
    self.assertIs(clipped[0], given[0])

  @parameterized.parameters(
    ({"clipnorm": 1.0, "clipvalue": 1.0},), ({"global_clipnorm": -1.0},)
  )
  def test_mistakes(self, arguments):
    with self.assertRaisesRegex(UserError, "one positive limit"):
      gradients.Clipping(arguments, 2)


if __name__ == "__main__":
  tf.test.main()
