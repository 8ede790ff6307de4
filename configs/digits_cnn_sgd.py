"""scikit-learn's handwritten digits, a small CNN, SGD with momentum.

Not an experiment of the paper: it is the smallest real task that trains in
seconds and needs no download.

python -m trainers.image_classification \
    --config=configs/digits_cnn_sgd.py --workdir=runs/digits_cnn_sgd
"""

import ml_collections

from configs import image_classification


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = image_classification.get_config()
  config.num_epochs = 30.0
  config.global_batch_size = 64
  config.data.name = "digits"
  config.data.image_size = 8
  config.data.mean = (0.305,)
  config.data.std = (0.376,)
  config.data.crop_padding = 1
  config.learning_rate.schedule = "cosine"
  config.learning_rate.warmup = 1.0
  config.l2_penalty = 1e-4
  config.label_smoothing = 0.1
  config.steps_per_loop = 22  # One epoch.
  config.checkpoint_every_epochs = 10.0
  return config
