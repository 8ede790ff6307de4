"""CIFAR-100, wide ResNet-18, AdamW: the paper's section 5.1.

As cifar10_resnet18_adamw, on CIFAR-100.

python -m trainers.image_classification \
    --config=configs/cifar100_resnet18_adamw.py --data_dir=DIR \
    --workdir=WORKDIR --seed=0

Expected: 76.88 +- .39 % final accuracy over 3 seeds (the paper's table for
CIFAR-100). Here: not run.
"""

import ml_collections

from configs import cifar10_resnet18_adamw, cifar100_resnet18_sgd


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  return cifar100_resnet18_sgd.on_cifar100(cifar10_resnet18_adamw.get_config())
