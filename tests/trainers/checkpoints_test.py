import os

import keras
import tensorflow as tf

from lookahead_tf import Lookahead
from trainers.checkpoints import Checkpoints


def _model_and_optimizer():
  model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
  optimizer = Lookahead(keras.optimizers.Adam(0.1))
  optimizer.build(model.trainable_variables)
  return model, optimizer


class CheckpointsTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = os.path.join(self.get_temp_dir(), self.id())

  def test_nothing_to_restore(self):
    self.assertEqual(
      Checkpoints(self.workdir, *_model_and_optimizer()).restore(), 0
    )

  def test_everything_comes_back(self):
    model, optimizer = _model_and_optimizer()
    for _ in range(7):
      optimizer.apply([tf.ones_like(v.value) for v in model.variables])
    checkpoints = Checkpoints(self.workdir, model, optimizer)
    for step in (5, 6, 7):
      checkpoints.save(step)
    other_model, other_optimizer = _model_and_optimizer()
    restored = Checkpoints(self.workdir, other_model, other_optimizer).restore()
    self.assertEqual(restored, 7)
    for one, other in zip(
      model.variables + optimizer.variables,
      other_model.variables + other_optimizer.variables,
    ):
      self.assertAllEqual(one.numpy(), other.numpy())

  def test_keeps_the_last_two(self):
    checkpoints = Checkpoints(self.workdir, *_model_and_optimizer())
    for step in (1, 2, 3):
      checkpoints.save(step)
    files = os.listdir(os.path.join(self.workdir, "checkpoints"))
    self.assertCountEqual(
      [name for name in files if name.endswith(".index")],
      ["ckpt-2.index", "ckpt-3.index"],
    )


if __name__ == "__main__":
  tf.test.main()
