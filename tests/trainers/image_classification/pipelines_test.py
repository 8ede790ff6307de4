import itertools

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests.trainers.hosts import input_context
from tests.trainers.image_classification.small_batches import (
  first_batches,
  make_batching,
)
from trainers.image_classification import sources, splits
from trainers.image_classification.pipelines import MadeUpImages, SmallImages

_SMALL = 10  # Examples; example i is filled with the value i, and labelled i.


def _small_split(size=_SMALL, pixels=6):
  images = np.ones((size, pixels, pixels, 3), "uint8")
  images *= np.arange(size, dtype="uint8")[:, None, None, None]
  return splits.of_arrays(images, np.arange(size))


def _small(split=None, context=None, **fields):
  return SmallImages(
    split or _small_split(), make_batching(**fields), context or input_context()
  )


def _train(number, split=None, first_step=0, context=None, **fields):
  """The first batches, as NumPy arrays."""
  return first_batches(_small(split, context, **fields), number, first_step)


class SmallImagesTest(tf.test.TestCase, parameterized.TestCase):
  def test_an_epoch_has_no_example_twice_and_the_next_another_order(self):
    labels = [labels.tolist() for _, labels in _train(4)]
    first, second = labels[0] + labels[1], labels[2] + labels[3]
    self.assertLen(set(first), 8)
    self.assertLen(set(second), 8)
    self.assertNotEqual(first, second)

  def test_images_belong_to_their_labels(self):
    images, labels = _train(1)[0]
    self.assertEqual((images.shape, images.dtype), ((4, 6, 6, 3), np.uint8))
    self.assertEqual(labels.dtype, np.int32)
    self.assertAllEqual(
      images, np.broadcast_to(labels[:, None, None, None], images.shape)
    )

  def test_the_seed_decides(self):
    one, same, other = (
      [labels.tolist() for _, labels in _train(2, seed=seed)]
      for seed in (1, 1, 2)
    )
    self.assertEqual(one, same)
    self.assertNotEqual(one, other)

  @parameterized.product(first_step=[1, 2, 5], cache=[False, True])
  def test_what_a_step_sees_does_not_depend_on_the_first(
    self, first_step, cache
  ):
    fields = {"crop_padding": 2, "horizontal_flip": True, "cache": cache}
    everything = _train(8, **fields)[first_step:]
    resumed = _train(8 - first_step, first_step=first_step, **fields)
    for (images, labels), (other_images, other_labels) in zip(
      everything, resumed
    ):
      self.assertAllEqual(labels, other_labels)
      self.assertAllEqual(images, other_images)

  def test_replicas_share_the_global_batch(self):
    fields = {"crop_padding": 2, "horizontal_flip": True}
    whole = _train(3, **fields)
    parts = _train(6, context=input_context(2), **fields)
    for i, (images, labels) in enumerate(whole):
      pair = parts[2 * i], parts[2 * i + 1]
      self.assertAllEqual(images, np.concatenate([p[0] for p in pair]))
      self.assertAllEqual(labels, np.concatenate([p[1] for p in pair]))

  def test_crops_and_flips_are_those_of_numpy(self):
    # An image without symmetry, so that each window and its mirror image
    # differ: all 5 x 5 x 2 that padding by 2 allows, and nothing else, occur.
    image = np.arange(1, 6 * 6 * 3 + 1).reshape(6, 6, 3).astype("uint8")
    split = splits.of_arrays(np.stack([image] * 400), np.zeros(400, int))
    padded = np.pad(image, [(2, 2), (2, 2), (0, 0)])
    allowed = set()
    for top, left in itertools.product(range(5), range(5)):
      window = padded[top : top + 6, left : left + 6]
      allowed |= {window.tobytes(), window[:, ::-1].tobytes()}
    fields = {"crop_padding": 2, "horizontal_flip": True}
    seen = [
      x.tobytes() for images, _ in _train(100, split, **fields) for x in images
    ]
    self.assertEqual(set(seen), allowed)
    # Batches differ from one another, and images within a batch.
    self.assertGreater(len(set(seen[:4])), 1)

  def test_reflected_shifts_are_those_of_numpy(self):
    image = np.arange(1, 6 * 6 * 3 + 1).reshape(6, 6, 3).astype("uint8")
    split = splits.of_arrays(np.stack([image] * 400), np.zeros(400, int))
    padded = np.pad(image, [(2, 2), (2, 2), (0, 0)], "reflect")
    allowed = {
      padded[top : top + 6, left : left + 6].tobytes()
      for top, left in itertools.product(range(5), range(5))
    }
    fields = {"crop_padding": 2, "crop_fill": "reflect"}
    seen = [
      x.tobytes() for images, _ in _train(100, split, **fields) for x in images
    ]
    self.assertEqual(set(seen), allowed)

  @parameterized.product(first_step=[0, 7], hosts=[1, 2])
  def test_an_alternating_flip_mirrors_each_image_every_other_epoch(
    self, first_step, hosts
  ):
    # Of 5 steps an epoch; image i has i + 1 at its left, and 0 elsewhere.
    images = np.zeros((20, 6, 6, 3), "uint8")
    images[:, :, 0] = np.arange(1, 21)[:, None, None]
    split = splits.of_arrays(images, np.arange(20))
    fields = {"horizontal_flip": True, "alternating_flip": True, "seed": 3}
    seen = {}
    for host in range(hosts):
      batches = _train(
        20 - first_step,
        split,
        first_step,
        input_context(hosts, hosts, host),
        **fields,
      )
      for step, (batch, labels) in enumerate(batches, first_step):
        for image, label in zip(batch, labels):
          is_mirrored = image[0, 0, 0] == 0
          edge = image[:, -1] if is_mirrored else image[:, 0]
          self.assertAllEqual(edge, np.full((6, 3), label + 1))
          seen[label, step // 5] = is_mirrored
    self.assertLen(seen, 4 * (20 - first_step))
    whole = {key: value for key, value in seen.items() if key[1] >= 2}
    for (label, epoch), is_mirrored in whole.items():
      if (label, epoch + 1) in seen:
        self.assertNotEqual(is_mirrored, seen[label, epoch + 1])
    # Half of the images begin mirrored, and another half with another seed.
    first = [whole[label, 2] for label in range(20)]
    self.assertBetween(sum(first), 4, 16)

  def test_other_sizes_are_cropped_to_a_square_and_resized(self):
    image = np.zeros((20, 40, 3), "uint8")
    image[:, 10:30] = 200  # The central square.
    split = splits.of_arrays(np.stack([image] * 4), np.zeros(4, int))
    images, _ = _train(1, split)[0]
    self.assertEqual(images.shape, (4, 6, 6, 3))
    self.assertAllEqual(images, np.full((4, 6, 6, 3), 200))


class SmallEvaluationTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.product(batch=[1, 3, 4, 10, 16], cache=[False, True])
  def test_every_example_once_in_batches_of_one_shape(self, batch, cache):
    batches = _small(
      context=input_context(replicas=2),
      cache=cache,
      global_batch_size=2 * batch,
    ).examples()
    for _ in range(2):  # Again, now from the cache.
      labels, weights = [], []
      for x, y, w in batches.as_numpy_iterator():
        self.assertEqual(x.shape, (batch, 6, 6, 3))
        labels += y.tolist()
        weights += w.tolist()
      self.assertEqual(len(labels) % (2 * batch), 0)
      counted = [y for y, w in zip(labels, weights) if w == 1.0]
      self.assertEqual(counted, list(range(_SMALL)))
      self.assertEqual(sum(weights), _SMALL)


class SmallHostsTest(tf.test.TestCase):
  """Four replicas on two hosts train on what four on one host do."""

  def assertParts(self, one_host, two_hosts):
    parts = [list(part) for part in two_hosts]
    self.assertLen(one_host, len(parts[0]) + len(parts[1]))
    for i in range(0, len(one_host), 4):
      expected = one_host[i : i + 4]
      actual = parts[0][i // 2 : i // 2 + 2] + parts[1][i // 2 : i // 2 + 2]
      for a, b in zip(actual, expected):
        for x, y in zip(a, b):
          self.assertAllEqual(x, y)

  def test_training(self):
    fields = {"crop_padding": 1, "horizontal_flip": True}
    self.assertParts(
      _train(24, context=input_context(4), **fields),
      [
        _train(12, context=input_context(4, 2, host), **fields)
        for host in (0, 1)
      ],
    )

  def test_evaluation(self):
    seen, lengths = [], []
    for host in (0, 1):
      batches = _small(
        context=input_context(4, 2, host), global_batch_size=8
      ).examples()
      length = 0
      for images, labels, weights in batches.as_numpy_iterator():
        length += len(labels)
        for image, label in zip(images[weights == 1], labels[weights == 1]):
          self.assertAllEqual(image, np.full((6, 6, 3), label))
          seen.append(label)
      lengths.append(length)
    self.assertCountEqual(seen, range(_SMALL))
    self.assertEqual(lengths, [8, 8])


class MadeUpImagesTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    "imagenet2012", "tfrecords", "image_folder", "cifar100", "digits"
  )
  def test_noise_of_every_label(self, name):
    source = sources.load(name, fake_data=True)
    pipeline = MadeUpImages(
      source.train,
      make_batching(global_batch_size=64),
      input_context(4, hosts=2, host=1),
      num_classes=len(source.class_names),
    )
    batches = pipeline.batches(first_step=7)
    self.assertEqual(
      batches.element_spec,
      (
        tf.TensorSpec((16, 6, 6, source.channels), tf.uint8),
        tf.TensorSpec((16,), tf.int32),
      ),
    )
    classes = len(source.class_names)
    for images, labels in itertools.islice(batches, 2):
      self.assertGreater(len(set(labels.numpy().tolist())), 5)
      self.assertBetween(int(tf.reduce_max(labels)), classes // 2, classes - 1)
      self.assertGreater(int(tf.reduce_max(images)), 200)

  def test_evaluation_counts_as_many(self):
    split = sources.load("digits", fake_data=True).validation
    weights = []
    for host in (0, 1):
      batches = MadeUpImages(
        split,
        make_batching(global_batch_size=64, image_size=2),
        input_context(2, hosts=2, host=host),
        num_classes=10,
      ).examples()
      weights += [batch[2].tolist() for batch in batches.as_numpy_iterator()]
    self.assertEqual({len(w) for w in weights}, {32})
    self.assertEqual(sum(map(sum, weights)), 360)


if __name__ == "__main__":
  tf.test.main()
