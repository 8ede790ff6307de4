import os
import resource
from unittest import mock

import keras
import tensorflow as tf
from absl.testing import parameterized

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
    self.workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])

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

  def test_that_of_a_sigterm_does_not_count(self):
    checkpoints = Checkpoints(
      self.workdir,
      *_model_and_optimizer(),
      keep=2,
      is_due=lambda step: step % 4 == 0,
    )
    names = []
    for step in (4, 8, 9, 11, 12):
      checkpoints.save(step)
      names.append([os.path.basename(path) for path in checkpoints.paths])
    self.assertEqual(
      names[2:],
      [
        ["ckpt-4", "ckpt-8", "ckpt-9"],
        ["ckpt-4", "ckpt-8", "ckpt-11"],
        ["ckpt-8", "ckpt-12"],
      ],
    )

  def test_reads_the_one_that_is_asked_for(self):
    model, optimizer = _model_and_optimizer()
    checkpoints = Checkpoints(self.workdir, model, optimizer)
    self.assertIsNone(checkpoints.best)
    self.assertEqual(checkpoints.paths, [])
    kernel = model.variables[0]
    for step, result in ((1, 0.5), (2, 0.9), (10, 0.1)):
      kernel.assign(tf.fill((2, 3), float(step)))
      checkpoints.save_if_best(step, result)
      checkpoints.save(step)
    for path, step in zip([checkpoints.best, *checkpoints.paths], (2, 2, 10)):
      self.assertEqual(checkpoints.read(path), step)
      self.assertAllEqual(kernel, tf.fill((2, 3), float(step)))
    other = Checkpoints(
      self.workdir,
      keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)]),
      optimizer,
    )
    with self.assertRaisesRegex(UserError, "ckpt-10 cannot be read"):
      other.read(other.latest)


class OtherFilesTest(tf.test.TestCase, parameterized.TestCase):
  """What is not the run's own is neither read nor removed."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model, cls.optimizer = _model_and_optimizer()

  def setUp(self):
    super().setUp()
    self.root = os.path.join(self.get_temp_dir(), self.id().split()[0])

  def _checkpoints(self, workdir):
    path = os.path.join(self.root, workdir)
    return Checkpoints(path, self.model, self.optimizer)

  def _save(self, workdir, steps):
    checkpoints = self._checkpoints(workdir)
    for step in steps:
      self.model.variables[0].assign(tf.fill((2, 3), float(step)))
      checkpoints.save(step)

  def _restored(self, workdir):
    self.model.variables[0].assign(tf.zeros((2, 3)))
    step = self._checkpoints(workdir).restore()
    self.assertAllEqual(self.model.variables[0], tf.fill((2, 3), float(step)))
    return step

  def _files(self):
    return {
      os.path.join(folder, name)
      for folder, _, names in os.walk(self.root)
      for name in names
    }

  @parameterized.parameters(
    "a b", "~", "~a", "{a,b}", "lr=0.1,k=5", "a#%20'&;$", "été", "-a", "a."
  )
  def test_names_that_are_no_patterns(self, name):
    self._save("other", [7])
    self._save(name, [2, 10, 11])
    self.assertEqual(self._restored(name), 11)
    self.assertEqual(self._restored(f"{name}/"), 11)
    self.assertEqual(self._restored("other"), 7)
    names = os.listdir(os.path.join(self.root, name, "checkpoints"))
    self.assertCountEqual(
      [n for n in names if n.endswith(".index")],
      ["ckpt-10.index", "ckpt-11.index"],
    )

  @parameterized.parameters(
    ("exp[12]", "exp1"), ("exp*", "exp1"), ("exp?", "exp1"), ("exp\\[", "exp[")
  )
  def test_names_that_are_patterns(self, name, other):
    os.makedirs(os.path.join(self.root, other, "checkpoints"))
    path = os.path.join(self.root, other, "checkpoints", "ckpt-1.index")
    tf.io.write_file(path, "of another run")
    with self.assertRaisesRegex(UserError, "must be a path without"):
      self._save(name, [1])
    self.assertEqual(self._files(), {path})

  def test_files_of_the_users_own(self):
    self._save("run", [1, 2])
    others = {
      os.path.join(self.root, "run", "checkpoints", name)
      for name in (
        "ckpt-best.backup",
        "ckpt-best.index",
        "ckpt-best-3.index",
        "ckpt-1.index.backup",
        "ckpt-1.data-00000-of-00001.backup",
        "ckpt-01.index",
        "ckpt-12-copy.index",
        "my-ckpt-13.index",
        "notes-5.index",
        "ckpt-14.data-notes",
        "unfinished",
        "unfinished-notes.txt",
        "unfinished.data-notes",
      )
    }
    for path in others:
      tf.io.write_file(path, "notes")
    self.assertEqual(self._restored("run"), 2)
    self._save("run", [3, 4])
    self.assertEqual(self._restored("run"), 4)
    own = {
      os.path.join(self.root, "run", "checkpoints", f"ckpt-{step}{suffix}")
      for step in (3, 4)
      for suffix in (".index", ".data-00000-of-00001")
    }
    self.assertEqual(self._files(), own | others)

  def test_a_checkpoint_that_cannot_be_written_leaves_nothing_of_its_own(self):
    self._save("run", [1])
    folder = os.path.join(self.root, "run", "checkpoints")
    notes = os.path.join(folder, "unfinished-notes.txt")
    tf.io.write_file(notes, "notes")
    before = self._files()

    def write(path):
      for name in (
        ".index",
        ".data-00000-of-00001",
        ".index.tempstate123",
        "_temp/part-00000-of-00001.data-00000-of-00001",
      ):
        tf.io.write_file(path + name, "partial")
      raise tf.errors.ResourceExhaustedError(None, None, "no room")

    with (
      mock.patch.object(tf.train.Checkpoint, "write", side_effect=write),
      self.assertRaisesRegex(UserError, "no room"),
    ):
      self._save("run", [2])
    self.assertEqual(self._files(), before)
    self.assertCountEqual(
      os.listdir(folder),
      ["ckpt-1.index", "ckpt-1.data-00000-of-00001", "unfinished-notes.txt"],
    )


class DamageTest(tf.test.TestCase):
  """Files that are missing, cut off or cannot be written."""

  def setUp(self):
    super().setUp()
    self.workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])
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

  def test_index_that_is_missing(self):
    os.remove(self._path("ckpt-10.index"))
    with self.assertWarnsRegex(UserWarning, "ckpt-10 has no index file"):
      self.assertEqual(self._restored(), 3)

  def test_what_cannot_be_read_is_removed(self):
    self.checkpoints.save(11)
    self._cut("ckpt-11.data-00000-of-00001")
    model, optimizer = _model_and_optimizer()
    checkpoints = Checkpoints(self.workdir, model, optimizer)
    with self.assertWarnsRegex(UserWarning, "ckpt-11 cannot be read"):
      self.assertEqual(checkpoints.restore(), 10)
    self.assertEqual(checkpoints.latest, self._path("ckpt-10"))
    os.rename(self._path("ckpt-10.index"), self._path("ckpt-9.index"))
    checkpoints.save(10)
    self.assertCountEqual(
      [name for name in os.listdir(self.folder) if name.endswith(".index")],
      ["ckpt-9.index", "ckpt-10.index"],
    )

  def test_file_system_out_of_reach(self):
    model, optimizer = _model_and_optimizer()
    checkpoints = Checkpoints(self.workdir, model, optimizer)
    with (
      mock.patch.object(
        tf.train.Checkpoint,
        "read",
        side_effect=tf.errors.UnavailableError(None, None, "no network"),
      ),
      self.assertRaisesRegex(UserError, "ckpt-10 cannot be reached: no net"),
    ):
      checkpoints.restore()

  def test_none_can_be_read(self):
    self._cut("ckpt-3.data-00000-of-00001")
    self._cut("ckpt-10.data-00000-of-00001")
    with (
      self.assertWarnsRegex(UserWarning, "cannot be read"),
      self.assertRaisesRegex(UserError, "None of the checkpoints"),
    ):
      self._restored()

  def test_full_disk_leaves_the_last_one(self):
    files = os.listdir(self.folder)
    sizes = sorted(os.path.getsize(self._path(name)) for name in files)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # There is room for nothing; for one of index and data, but not the other.
    for room in (100, sizes[0] + 10, sizes[-1] - 10):
      resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
      try:
        with self.assertRaisesRegex(
          UserError, "ckpt-12 cannot be written.*Make room"
        ):
          self.checkpoints.save(12)
      finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
      self.assertCountEqual(os.listdir(self.folder), files)
      self.assertEqual(self._restored(), 10)


class BestTest(tf.test.TestCase):
  def test_of_equal_results_the_later_one_and_no_nan(self):
    workdir = os.path.join(self.get_temp_dir(), self.id())
    checkpoints = Checkpoints(workdir, *_model_and_optimizer())
    for step, result, best in (
      (1, float("nan"), None),
      (2, 0.0, 2),
      (3, 0.0, 3),
      (4, float("nan"), 3),
      (5, 0.5, 5),
      (6, 0.25, 5),
      (7, 0.5, 7),
    ):
      checkpoints.save_if_best(step, result)
      path = checkpoints.best
      self.assertEqual(path and int(path.rpartition("-")[2]), best)
      if step == 3:
        checkpoints.save(step)
        checkpoints = Checkpoints(workdir, *_model_and_optimizer())
        self.assertEqual(checkpoints.restore(), 3)

  def test_what_a_run_that_was_killed_left_is_not_the_best(self):
    workdir = os.path.join(self.get_temp_dir(), self.id())
    checkpoints = Checkpoints(workdir, *_model_and_optimizer())
    checkpoints.save(1)
    checkpoints.save_if_best(4, 0.75)
    # It was killed, goes on from step 1, and evaluates more often.
    checkpoints = Checkpoints(workdir, *_model_and_optimizer())
    self.assertEqual(checkpoints.restore(), 1)
    checkpoints.save_if_best(2, 0.5)
    self.assertEndsWith(checkpoints.best, "ckpt-2")

  def test_the_greatest_so_far_also_after_a_restart(self):
    workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])

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
