import itertools

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from ml_collections import config_dict

from trainers.image_classification import input_pipeline
from trainers.image_classification.sources import Split

_SIZE = 10  # Examples; example i is filled with the value i, and labelled i.


def _split(size=_SIZE, pixels=6):
  images = np.ones((size, pixels, pixels, 3), "uint8")
  images *= np.arange(size, dtype="uint8")[:, None, None, None]
  return Split(
    tf.data.Dataset.from_tensor_slices((images, np.arange(size))), size
  )


def _config(**fields):
  return config_dict.create(
    **{
      "pipeline": "small_images",
      "image_size": 6,
      "mean": (0.5,),
      "std": (0.25,),
      "crop_padding": 0,
      "horizontal_flip": False,
      "cache": True,
      "shuffle_buffer": 100,
      **fields,
    }
  )


def _context(replicas=1, hosts=1, host=0):
  return tf.distribute.InputContext(hosts, host, replicas)


def _train(number, split=None, first_step=0, context=None, seed=0, **fields):
  """The first batches, as NumPy arrays."""
  batches = input_pipeline.train_batches(
    split or _split(),
    _config(**fields),
    seed=seed,
    global_batch_size=4,
    first_step=first_step,
    context=context or _context(),
  )
  return list(itertools.islice(batches.as_numpy_iterator(), number))


class TrainBatchesTest(tf.test.TestCase, parameterized.TestCase):
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

  def test_normalize(self):
    images = np.arange(2 * 4 * 4 * 3, dtype="uint8").reshape(2, 4, 4, 3)
    config = _config(mean=(0.1, 0.2, 0.3), std=(0.25, 0.5, 0.75))
    actual = input_pipeline.normalize(tf.constant(images), config)
    self.assertEqual(actual.dtype, tf.float32)
    expected = (images / 255 - [0.1, 0.2, 0.3]) / [0.25, 0.5, 0.75]
    self.assertAllClose(actual, expected, rtol=1e-5)

  def test_the_seed_decides(self):
    one, same, other = (
      [labels.tolist() for _, labels in _train(2, seed=seed)]
      for seed in (1, 1, 2)
    )
    self.assertEqual(one, same)
    self.assertNotEqual(one, other)

  @parameterized.product(first_step=[0, 1, 2, 3, 5], cache=[False, True])
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
    parts = _train(6, context=_context(2), **fields)
    for i, (images, labels) in enumerate(whole):
      pair = parts[2 * i], parts[2 * i + 1]
      self.assertAllEqual(images, np.concatenate([p[0] for p in pair]))
      self.assertAllEqual(labels, np.concatenate([p[1] for p in pair]))

  def test_crops_and_flips_are_those_of_numpy(self):
    # An image without symmetry, so that each window and its mirror image
    # differ: all 5 x 5 x 2 that padding by 2 allows, and nothing else, occur.
    image = np.arange(1, 6 * 6 * 3 + 1).reshape(6, 6, 3).astype("uint8")
    split = Split(tf.data.Dataset.from_tensors((image, 0)).repeat(400), 400)
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

  def test_other_sizes_are_cropped_to_a_square_and_resized(self):
    image = np.zeros((20, 40, 3), "uint8")
    image[:, 10:30] = 200  # The central square.
    split = Split(tf.data.Dataset.from_tensors((image, 0)).repeat(4), 4)
    images, _ = _train(1, split)[0]
    self.assertEqual(images.shape, (4, 6, 6, 3))
    self.assertAllEqual(images, np.full((4, 6, 6, 3), 200))


class EvaluationBatchesTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.product(batch=[1, 3, 4, 10, 16], cache=[False, True])
  def test_every_example_once_in_batches_of_one_shape(self, batch, cache):
    batches = input_pipeline.evaluation_batches(
      _split(),
      _config(cache=cache),
      global_batch_size=2 * batch,
      context=_context(replicas=2),
    )
    for _ in range(2):  # Again, now from the cache.
      labels, weights = [], []
      for x, y, w in batches.as_numpy_iterator():
        self.assertEqual(x.shape, (batch, 6, 6, 3))
        labels += y.tolist()
        weights += w.tolist()
      self.assertEqual(len(labels) % (2 * batch), 0)
      counted = [y for y, w in zip(labels, weights) if w == 1.0]
      self.assertEqual(counted, list(range(_SIZE)))
      self.assertEqual(sum(weights), _SIZE)


class HostsTest(tf.test.TestCase):
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
      _train(24, context=_context(4), **fields),
      [_train(12, context=_context(4, 2, host), **fields) for host in (0, 1)],
    )

  def test_evaluation(self):
    seen, lengths = [], []
    for host in (0, 1):
      batches = input_pipeline.evaluation_batches(
        _split(), _config(), global_batch_size=8, context=_context(4, 2, host)
      )
      length = 0
      for images, labels, weights in batches.as_numpy_iterator():
        length += len(labels)
        for image, label in zip(images[weights == 1], labels[weights == 1]):
          self.assertAllEqual(image, np.full((6, 6, 3), label))
          seen.append(label)
      lengths.append(length)
    self.assertCountEqual(seen, range(_SIZE))
    self.assertEqual(lengths, [8, 8])


if __name__ == "__main__":
  tf.test.main()
