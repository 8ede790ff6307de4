"""CIFAR-100, wide ResNet-18, SGD: the paper's section 5.1.

As cifar10_resnet18_sgd, on CIFAR-100.

python -m trainers.image_classification \
    --config=configs/cifar100_resnet18_sgd.py --data_dir=DIR \
    --workdir=WORKDIR --seed=0

Expected: 78.24 +- .18 % final accuracy over 3 seeds (the paper's table for
CIFAR-100). Here: not run.
"""

import ml_collections

from configs import cifar10_resnet18_sgd


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  return on_cifar100(cifar10_resnet18_sgd.get_config())


def on_cifar100(
  config: ml_collections.ConfigDict,
) -> ml_collections.ConfigDict:
  """Returns an experiment on CIFAR-10, changed in place to be on CIFAR-100."""
  config.data.name = "cifar100"
  config.data.mean = (0.5071, 0.4865, 0.4409)
  config.data.std = (0.2673, 0.2564, 0.2762)
  return config
