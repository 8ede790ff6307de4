"""ImageNet, ResNet-50, SGD, aggressive schedule: the paper's section 5.2.

As imagenet_resnet50_sgd in 60 epochs instead of 90, with the learning rate
times .1 at epochs 30, 48 and 58.

python -m trainers.image_classification \
    --config=configs/imagenet_resnet50_aggressive_sgd.py --data_dir=DIR \
    --workdir=WORKDIR

Expected: top-1 74.43 % after epoch 50 and 75.15 % after epoch 60 (the paper's
table for ImageNet). Here: not run.
"""

import ml_collections

from configs import imagenet_resnet50_sgd


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = imagenet_resnet50_sgd.get_config()
  config.num_epochs = 60.0
  config.learning_rate.decay_at = (30, 48, 58)
  return config
