"""ImageNet, ResNet-50, SGD: the baseline of the paper's section 5.2.

The recipe of the PyTorch example, which the paper followed: 90 epochs, learning
rate .1 times .1 at epochs 30 and 60, momentum .9. Batch 256 and weight decay
1e-4 (through the momentum, on all parameters) are the example's. As there, each
device normalizes with the statistics of its own part of the batch.

python -m trainers.image_classification \
    --config=configs/imagenet_resnet50_sgd.py --data_dir=DIR --workdir=WORKDIR

Expected: the paper shows this schedule as curves, without figures known to us;
for the aggressive one see imagenet_resnet50_aggressive_sgd. Here: not run.
"""

import ml_collections

from configs import image_classification


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = image_classification.get_config()
  config.num_epochs = 90.0
  config.global_batch_size = 256
  config.data.name = "imagenet2012"
  config.data.pipeline = "large_images"
  config.data.image_size = 224
  config.data.eval_resize = 256
  config.data.mean = (0.485, 0.456, 0.406)
  config.data.std = (0.229, 0.224, 0.225)
  config.data.horizontal_flip = True
  config.data.shuffle_buffer = 16_384  # Image files: 1.8 GB.
  config.model.name = "imagenet_resnet"
  config.model.width = 64
  config.model.blocks_per_stage = (3, 4, 6, 3)
  config.model.synchronized_batch_norm = False
  config.learning_rate.schedule = "step"
  config.learning_rate.peak = 0.1
  config.learning_rate.decay_at = (30, 60)
  config.learning_rate.decay_factor = 0.1
  config.l2_penalty = 1e-4
  config.steps_per_loop = 500  # A tenth of an epoch.
  return config
