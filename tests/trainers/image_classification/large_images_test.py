import dataclasses
import itertools
import os
import tempfile

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests.trainers.hosts import input_context
from tests.trainers.image_classification import photos
from tests.trainers.image_classification.small_batches import (
  first_batches,
  make_batching,
)
from tests.trainers.image_classification.stored_images import (
  write_imagenet,
  write_tfrecords,
)
from trainers.errors import UserError
from trainers.image_classification import image_folder, tfds_images, tfrecords
from trainers.image_classification.pipelines import LargeImages, SmallImages

_LARGE = 22  # Photos; photo i is labelled i.


def _large(split, context=None, **fields):
  fields = {"image_size": 8, "horizontal_flip": True, **fields}
  batching = make_batching(**{"shuffle_buffer": 8, **fields})
  return LargeImages(split, batching, context or input_context())


def _batches(split, number, first_step=0, context=None, **fields):
  return first_batches(_large(split, context, **fields), number, first_step)


def _labels(batches):
  return [label for _, labels in batches for label in labels.tolist()]


class LargeImagesTest(tf.test.TestCase, parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.root = os.path.join(tf.compat.v1.test.get_temp_dir(), "large_images")
    images = [photos.jpeg(24, 32, seed=i) for i in range(_LARGE)]
    write_tfrecords(cls.root, "train", images, files=5)
    write_tfrecords(cls.root, "validation", images, files=3)
    write_imagenet(f"{cls.root}/tfds", images, 3, "array_record")
    for split, (i, image) in itertools.product(("a", "b"), enumerate(images)):
      folder = os.path.join(cls.root, split, f"class{i:02}")
      os.makedirs(folder, exist_ok=True)
      with open(os.path.join(folder, "x.jpg"), "wb") as file:
        file.write(image)

  def _split(self, name="tfrecords"):
    if name == "tfrecords":
      return tfrecords.load(self.root, "train", "validation").train
    if name == "array_record":
      data_dir = f"{self.root}/tfds"
      return tfds_images.load(
        "imagenet2012", data_dir, "train", "validation", ()
      ).train
    return image_folder.load(self.root, "a", "b").train

  @parameterized.parameters("tfrecords", "folder", "array_record")
  def test_an_epoch_has_no_image_twice_and_the_next_another_order(self, name):
    batches = _batches(self._split(name), 10)
    self.assertEqual(batches[0][0].shape, (4, 8, 8, 3))
    self.assertEqual(batches[0][0].dtype, np.uint8)
    self.assertEqual(batches[0][1].dtype, np.int32)
    labels = _labels(batches)
    self.assertLen(set(labels[:20]), 20)
    self.assertLen(set(labels[20:]), 20)
    self.assertNotEqual(labels[:20], labels[20:])
    self.assertNotEqual(labels[:20], sorted(labels[:20]))

  def test_the_seed_decides(self):
    one, same, other = (_batches(self._split(), 3, seed=s) for s in (1, 1, 2))
    self.assertEqual(_labels(one), _labels(same))
    self.assertNotEqual(_labels(one), _labels(other))
    self.assertAllEqual(one[0][0], same[0][0])

  @parameterized.parameters(
    (1, "tfrecords", 1),
    (5, "tfrecords", 1),
    (7, "tfrecords", 2),
    (4, "folder", 2),
    (6, "array_record", 2),
  )
  def test_what_a_step_sees_does_not_depend_on_the_first(
    self, first_step, name, hosts
  ):
    split, context = self._split(name), input_context(hosts, hosts, hosts - 1)
    everything = _batches(split, 9, context=context)[first_step:]
    resumed = _batches(split, 9 - first_step, first_step, context)
    for (images, labels), (other_images, other_labels) in zip(
      everything, resumed, strict=True
    ):
      self.assertAllEqual(labels, other_labels)
      self.assertAllEqual(images, other_images)

  @parameterized.parameters("tfrecords", "array_record")
  def test_a_resumed_run_loads_nothing_of_what_it_skips(self, name):
    split, loaded = self._split(name), []

    def note(label):
      loaded.append(int(label))
      return label

    def load(*record):
      example = split.load(*record)
      label = tf.numpy_function(note, (example.label,), tf.int32)
      return example._replace(label=tf.reshape(label, ()))

    counted = dataclasses.replace(split, load=load)
    batches = _large(counted).batches(2).take(1)
    skipped = _labels(_batches(split, 2))
    self.assertLen(_labels(batches.as_numpy_iterator()), 4)
    self.assertEmpty(set(loaded[:10]) & set(skipped))

  def test_replicas_share_the_batch_of_a_host(self):
    whole = _batches(self._split(), 3)
    parts = _batches(self._split(), 6, context=input_context(2))
    for i, (images, labels) in enumerate(whole):
      pair = parts[2 * i], parts[2 * i + 1]
      self.assertAllEqual(images, np.concatenate([p[0] for p in pair]))
      self.assertAllEqual(labels, np.concatenate([p[1] for p in pair]))

  @parameterized.parameters("tfrecords", "folder", "array_record")
  def test_hosts_train_on_parts_of_their_own(self, name):
    parts = [
      _labels(_batches(self._split(name), 5, context=input_context(2, 2, host)))
      for host in (0, 1)
    ]
    for part in parts:
      self.assertLen(set(part), 10)
    self.assertEmpty(set(parts[0]) & set(parts[1]))

  def test_the_same_image_is_cropped_anew_each_epoch(self):
    by_label = {}
    for images, labels in _batches(self._split(), 10):
      for image, label in zip(images, labels.tolist()):
        by_label.setdefault(label, []).append(image)
    pairs = [images for images in by_label.values() if len(images) == 2]
    self.assertGreater(len(pairs), 10)
    for one, other in pairs:
      self.assertNotAllEqual(one, other)

  @parameterized.parameters(
    ("tfrecords", 1, 1),
    ("tfrecords", 16, 1),
    ("tfrecords", 3, 2),
    ("folder", 4, 3),
    ("array_record", 4, 3),
  )
  def test_evaluation_has_every_image_once(self, name, batch, hosts):
    split = self._split(name)
    counted, lengths = [], set()
    for host in range(hosts):
      batches = _large(
        split,
        input_context(2 * hosts, hosts, host),
        global_batch_size=2 * hosts * batch,
      ).examples()
      labels, weights = [], []
      for x, y, w in batches.as_numpy_iterator():
        self.assertEqual(x.shape, (batch, 8, 8, 3))
        labels += y.tolist()
        weights += w.tolist()
      counted += [y for y, w in zip(labels, weights) if w == 1.0]
      self.assertEqual(set(weights) - {1.0}, {0.0} if 0.0 in weights else set())
      lengths.add(len(labels))
    self.assertCountEqual(counted, range(_LARGE))
    self.assertLen(lengths, 1)
    self.assertEqual(lengths.pop() % (2 * batch), 0)


class UnreadableTest(tf.test.TestCase, parameterized.TestCase):
  """The image that a step cannot read is found among those of the step."""

  def _split(self, unreadable):
    directory = tempfile.mkdtemp(dir=self.get_temp_dir())
    images = [photos.jpeg(seed=i) for i in range(8)]
    for i in unreadable:
      images[i] = b"no image"
    for split in ("train", "validation"):
      write_tfrecords(directory, split, images, files=1)
    return tfrecords.load(directory, "train", "validation").train

  def _small(self, unreadable):
    return SmallImages(
      self._split(unreadable), make_batching(), input_context()
    )

  def test_large_images(self):
    # One of the eight that is seen in step 1, and not in step 2.
    order = _labels(_batches(self._split([]), 3))
    wrong = min(set(order[4:8]) - set(order[8:]))
    pipeline = _large(self._split([wrong]))
    self.assertIsNone(pipeline.find_unreadable(2, steps=0))
    for arguments in ((0, 2), (1, 1), ()):
      error = pipeline.find_unreadable(*arguments)
      self.assertIsInstance(error, UserError)
      self.assertIn(f"train_{wrong}.JPEG cannot be read", str(error))

  def test_small_images_are_all_read_for_the_first_step(self):
    pipeline = self._small([6])
    for arguments in ((0, 1), ()):
      error = pipeline.find_unreadable(*arguments)
      self.assertIn("train_6.JPEG cannot be read", str(error))
    self.assertIsNone(self._small([]).find_unreadable(0, 1))


if __name__ == "__main__":
  tf.test.main()
