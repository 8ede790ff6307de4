import os
import resource

import keras
import tensorflow as tf

from lookahead_tf import Lookahead
from trainers.checkpoints import Checkpoints
from trainers.errors import UserError


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


class DamageTest(tf.test.TestCase):
  """Files that are missing, cut off or cannot be written."""

  def setUp(self):
    super().setUp()
    self.workdir = os.path.join(self.get_temp_dir(), self.id())
    self.folder = os.path.join(self.workdir, "checkpoints")
    self.model, self.optimizer = _model_and_optimizer()
    self.checkpoints = Checkpoints(self.workdir, self.model, self.optimizer)
    for step in (3, 10):
      self.model.variables[0].assign(tf.fill((2, 3), float(step)))
      self.checkpoints.save(step)

  def _path(self, name):
    return os.path.join(self.folder, name)

  def _restored(self):
    model, optimizer = _model_and_optimizer()
    step = Checkpoints(self.workdir, model, optimizer).restore()
    self.assertAllEqual(model.variables[0], tf.fill((2, 3), float(step)))
    return step

  def _cut(self, name):
    os.truncate(self._path(name), os.path.getsize(self._path(name)) // 2)

  def test_falls_back_to_the_one_before(self):
    for damage in (
      lambda: self._cut("ckpt-10.data-00000-of-00001"),
      lambda: os.remove(self._path("ckpt-10.data-00000-of-00001")),
      lambda: self._cut("ckpt-10.index"),
    ):
      self.checkpoints.save(10)
      self.assertEqual(self._restored(), 10)
      damage()
      with self.assertWarnsRegex(UserWarning, "ckpt-10 cannot be read"):
        self.assertEqual(self._restored(), 3)

  def test_index_that_is_not_there_yet(self):
    os.remove(self._path("ckpt-10.index"))
    self.assertEqual(self._restored(), 3)

  def test_the_list_of_checkpoints_is_not_needed(self):
    os.remove(self._path("checkpoint"))
    self.assertEqual(self._restored(), 10)

  def test_none_can_be_read(self):
    self._cut("ckpt-3.data-00000-of-00001")
    self._cut("ckpt-10.data-00000-of-00001")
    with (
      self.assertWarnsRegex(UserWarning, "cannot be read"),
      self.assertRaisesRegex(UserError, "None of the checkpoints"),
    ):
      self._restored()

  def test_full_disk_leaves_the_last_one(self):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
      with self.assertRaisesRegex(
        UserError, "checkpoint of step 12 cannot be written.*Make room.*ckpt-10"
      ):
        self.checkpoints.save(12)
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, before)
    self.assertEmpty([name for name in os.listdir(self.folder) if "12" in name])
    self.assertEqual(self._restored(), 10)


class BestTest(tf.test.TestCase):
  def test_the_greatest_so_far_also_after_a_restart(self):
    workdir = os.path.join(self.get_temp_dir(), self.id())

    def saved():
      names = os.listdir(os.path.join(workdir, "best"))
      return [name for name in names if name.endswith(".index")]

    checkpoints = Checkpoints(workdir, *_model_and_optimizer())
    checkpoints.save_if_best(1, 0.5)
    checkpoints.save_if_best(2, 0.25)
    self.assertEqual(saved(), ["ckpt-1.index"])
    checkpoints.save(2)
    checkpoints = Checkpoints(workdir, *_model_and_optimizer())
    self.assertEqual(checkpoints.restore(), 2)
    checkpoints.save_if_best(3, 0.375)
    self.assertEqual(saved(), ["ckpt-1.index"])
    checkpoints.save_if_best(4, 0.75)
    self.assertEqual(saved(), ["ckpt-4.index"])


if __name__ == "__main__":
  tf.test.main()
