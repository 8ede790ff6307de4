"""CIFAR-10, wide ResNet-18, Lookahead over SGD: the paper's section 5.1.

As cifar10_resnet18_sgd, with the values that the paper found for Lookahead:
learning rate .1, weight decay 1e-3, k = 5, alpha = .8.

python -m trainers.image_classification \
    --config=configs/cifar10_resnet18_lookahead.py --data_dir=DIR \
    --workdir=WORKDIR --seed=0

Expected: 95.27 +- .06 % final accuracy over 3 seeds (the paper's table for
CIFAR-10). Here: not run.
"""

import ml_collections

from configs import cifar10_resnet18_sgd, lookahead


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = cifar10_resnet18_sgd.get_config()
  config.learning_rate.peak = 0.1
  return lookahead.add_to(config, sync_period=5, slow_step_size=0.8)
