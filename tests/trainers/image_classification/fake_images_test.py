import itertools

import tensorflow as tf
from absl.testing import parameterized
from ml_collections import config_dict

from trainers.errors import UserError
from trainers.image_classification import input_pipeline, sources


def _config(name, size=6):
  return config_dict.create(
    name=name,
    train_split="train",
    validation_split="validation",
    image_size=size,
    pipeline="large_images",
  )


class FakeImagesTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    ("imagenet2012", 1_281_167, 50_000, 1000, 3),
    ("tfrecords", 1_281_167, 50_000, 1000, 3),
    ("image_folder", 1_281_167, 50_000, 1000, 3),
    ("cifar100", 50_000, 10_000, 100, 3),
    ("digits", 1_437, 360, 10, 1),
  )
  def test_as_large_as_the_real_ones(
    self, name, train, validation, n, channels
  ):
    config = _config(name)
    source = sources.load(config, None, fake_data=True)
    self.assertEqual(source.train.size, train)
    self.assertEqual(source.validation.size, validation)
    self.assertLen(source.class_names, n)
    self.assertTrue(source.describe()["fake"])
    batches = input_pipeline.train_batches(
      source.train,
      config,
      seed=0,
      global_batch_size=64,
      first_step=7,
      context=tf.distribute.InputContext(2, 1, 4),
    )
    self.assertEqual(
      batches.element_spec,
      (
        tf.TensorSpec((16, 6, 6, channels), tf.uint8),
        tf.TensorSpec((16,), tf.int32),
      ),
    )
    for images, labels in itertools.islice(batches, 2):
      self.assertGreater(len(set(labels.numpy().tolist())), 5)
      self.assertBetween(int(tf.reduce_max(labels)), n // 2, n - 1)
      self.assertGreater(int(tf.reduce_max(images)), 200)

  def test_evaluation_counts_as_many(self):
    config = _config("digits", size=2)
    split = sources.load(config, None, fake_data=True).validation
    weights = []
    for host in (0, 1):
      batches = input_pipeline.evaluation_batches(
        split,
        config,
        global_batch_size=64,
        context=tf.distribute.InputContext(2, host, 2),
      )
      weights += [batch[2].tolist() for batch in batches.as_numpy_iterator()]
    self.assertEqual({len(w) for w in weights}, {32})
    self.assertEqual(sum(map(sum, weights)), 360)

  def test_real_sources_do_not_say_that_they_are_fake(self):
    source = sources.load(_config("digits"), None)
    self.assertNotIn("fake", source.describe())

  def test_unknown_size(self):
    with self.assertRaisesRegex(UserError, "but not of data.name='mnist'"):
      sources.load(_config("mnist"), None, fake_data=True)


if __name__ == "__main__":
  tf.test.main()
