"""ImageNet, ResNet-50, Lookahead, aggressive schedule: the paper's section 5.2.

As imagenet_resnet50_aggressive_sgd, with Lookahead around the same SGD: k = 5,
alpha = .5.

python -m trainers.image_classification \
    --config=configs/imagenet_resnet50_aggressive_lookahead.py --data_dir=DIR \
    --workdir=WORKDIR

Expected: top-1 75.13 % after epoch 50 and 75.49 % after epoch 60 (the paper's
table for ImageNet). Here: not run.
"""

import ml_collections

from configs import imagenet_resnet50_aggressive_sgd, lookahead


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  return lookahead.add_to(
    imagenet_resnet50_aggressive_sgd.get_config(),
    sync_period=5,
    slow_step_size=0.5,
  )
