"""Every config can be loaded and builds what it describes."""

import glob
import importlib
import os

import ml_collections
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead
from trainers import optimizers, schedules
from trainers.image_classification import train
from trainers.image_classification.model import make_model

_DIRECTORY = os.path.join(
  os.path.dirname(os.path.dirname(os.path.dirname(__file__))), "configs"
)
NAMES = sorted(
  name
  for path in glob.glob(os.path.join(_DIRECTORY, "*.py"))
  if (name := os.path.splitext(os.path.basename(path))[0])
  not in ("__init__", "image_classification", "lookahead", "translation")
  and "_transformer_" not in name  # See translation_configs_test.
)


class ConfigsTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(NAMES)
  def test_builds(self, name):
    config = importlib.import_module(f"configs.{name}").get_config()
    self.assertIsInstance(config, ml_collections.ConfigDict)
    config.lock()
    plan = train.make_plan(config, train_size=50_000)
    make_model(
      config.model,
      image_shape=(config.data.image_size, config.data.image_size, 3),
      num_classes=10,
    )
    optimizer = optimizers.make_optimizer(
      config,
      schedules.make_schedule(
        config.learning_rate, plan.steps_per_epoch, plan.total_steps
      ),
    )
    self.assertEqual(
      isinstance(optimizer, Lookahead), name.endswith("_lookahead")
    )

  @parameterized.parameters(NAMES)
  def test_docstring_gives_the_command(self, name):
    module = importlib.import_module(f"configs.{name}")
    self.assertIn(f"--config=configs/{name}.py", module.__doc__)
    if name.startswith("cifar10_"):
      self.assertIn("not run", module.__doc__)
      self.assertIn("section 5.1", module.__doc__)

  def test_the_papers_cifar_10_values(self):
    def get(name):
      return importlib.import_module(f"configs.{name}").get_config()

    sgd, lookahead = (
      get("cifar10_resnet18_sgd"),
      get("cifar10_resnet18_lookahead"),
    )
    for config, rate in ((sgd, 0.05), (lookahead, 0.1)):
      self.assertEqual(config.learning_rate.peak, rate)
      self.assertEqual(config.learning_rate.decay_epochs, (60, 120, 160))
      self.assertEqual(config.learning_rate.decay_factor, 0.2)
      self.assertEqual(config.l2_penalty, 1e-3)
      self.assertEqual(config.num_epochs, 200)
      self.assertEqual(config.global_batch_size, 128)
      self.assertEqual(config.optimizer.arguments.momentum, 0.9)
    self.assertEqual(lookahead.lookahead.sync_period, 5)
    self.assertEqual(lookahead.lookahead.slow_step_size, 0.8)


if __name__ == "__main__":
  tf.test.main()
