"""ImageNet, ResNet-152, Lookahead over SGD: the paper's section 5.2.

As imagenet_resnet152_sgd, with Lookahead around the same SGD: k = 5,
alpha = .5.

python -m trainers.image_classification \
    --config=configs/imagenet_resnet152_lookahead.py --data_dir=DIR \
    --workdir=WORKDIR

Expected: the paper shows this schedule as curves, without figures known to us.
Here: not run.
"""

import ml_collections

from configs import imagenet_resnet152_sgd, lookahead


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  return lookahead.add_to(
    imagenet_resnet152_sgd.get_config(), sync_period=5, slow_step_size=0.5
  )
