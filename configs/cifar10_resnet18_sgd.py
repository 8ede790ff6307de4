"""CIFAR-10, wide ResNet-18, SGD: the baseline of the paper's section 5.1.

200 epochs of batch 128, learning rate .05 times .2 at epochs 60, 120 and 160,
momentum .9, weight decay 1e-3 (through the momentum, on all parameters).

python -m trainers.image_classification \
    --config=configs/cifar10_resnet18_sgd.py --data_dir=DIR \
    --workdir=WORKDIR --seed=0

Expected: 95.23 +- .19 % final accuracy over 3 seeds (the paper's table for
CIFAR-10). Here: not run.
"""

import ml_collections

from configs import image_classification


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = image_classification.get_config()
  config.num_epochs = 200.0
  config.global_batch_size = 128
  config.data.name = "cifar10"
  config.data.validation_split = "test"
  config.data.image_size = 32
  config.data.mean = (0.4914, 0.4822, 0.4465)
  config.data.std = (0.2470, 0.2435, 0.2616)
  config.data.crop_padding = 4
  config.data.horizontal_flip = True
  config.model.name = "cifar_resnet"
  config.model.width = 64
  config.model.blocks_per_stage = (2, 2, 2, 2)
  config.learning_rate.schedule = "step"
  config.learning_rate.peak = 0.05
  config.learning_rate.decay_at = (60, 120, 160)
  config.learning_rate.decay_factor = 0.2
  config.l2_penalty = 1e-3
  config.steps_per_loop = 130  # A third of an epoch.
  return config
