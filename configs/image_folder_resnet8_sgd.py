"""Any folder of small images, a narrow ResNet-8, SGD with momentum.

Not an experiment of the paper: a CIFAR ResNet of one block of 16, 32 and 64
channels, which learns from 10,000 images of 32x32 in minutes on two cores.

python -m trainers.image_classification \
    --config=configs/image_folder_resnet8_sgd.py --data_dir=FOLDER \
    --workdir=runs/image_folder_resnet8_sgd

FOLDER holds train/CLASS/*.jpg and validation/CLASS/*.jpg.
"""

import ml_collections

from configs import image_classification


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = image_classification.get_config()
  config.num_epochs = 10.0
  config.global_batch_size = 128
  config.data.name = "image_folder"
  config.data.image_size = 32
  config.data.mean = (0.4914, 0.4822, 0.4465)
  config.data.std = (0.2470, 0.2435, 0.2616)
  config.data.crop_padding = 4
  config.data.horizontal_flip = True
  config.model.name = "cifar_resnet"
  config.model.width = 16
  config.model.blocks_per_stage = (1, 1, 1)
  config.learning_rate.schedule = "cosine"
  config.learning_rate.warmup = 1.0
  config.l2_penalty = 5e-4
  config.steps_per_loop = 39
  return config
