"""CIFAR-10, wide ResNet-18, AdamW: a baseline of the paper's section 5.1.

As cifar10_resnet18_sgd, with AdamW's learning rate 3e-4 and weight decay 1. The
decay is that of PyTorch and of Keras alike: a step takes rate * decay of each
parameter away, 3e-4 of it at first and less when the rate falls. Epsilon is
PyTorch's.

python -m trainers.image_classification \
    --config=configs/cifar10_resnet18_adamw.py --data_dir=DIR \
    --workdir=WORKDIR --seed=0

Expected: 94.84 +- .16 % final accuracy over 3 seeds (the paper's table for
CIFAR-10). Here: not run.
"""

import ml_collections
from ml_collections import config_dict

from configs import cifar10_resnet18_sgd


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = cifar10_resnet18_sgd.get_config()
  config.optimizer = config_dict.create(
    name="adamw", arguments=dict(weight_decay=1.0, epsilon=1e-8)
  )
  config.learning_rate.peak = 3e-4
  config.l2_penalty = 0.0  # The decay does not go through the gradient.
  return config
