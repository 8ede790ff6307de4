"""ImageNet, ResNet-152, SGD: the baseline of the paper's section 5.2.

As imagenet_resnet50_sgd, with 152 layers.

python -m trainers.image_classification \
    --config=configs/imagenet_resnet152_sgd.py --data_dir=DIR --workdir=WORKDIR

Expected: the paper shows this schedule as curves, without figures known to us.
Here: not run.
"""

import ml_collections

from configs import imagenet_resnet50_sgd


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = imagenet_resnet50_sgd.get_config()
  config.model.blocks_per_stage = (3, 8, 36, 3)
  return config
