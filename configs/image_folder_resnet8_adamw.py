"""image_folder_resnet8_sgd with AdamW in place of SGD.

python -m trainers.image_classification \
    --config=configs/image_folder_resnet8_adamw.py --data_dir=FOLDER \
    --workdir=runs/image_folder_resnet8_adamw
"""

import ml_collections
from ml_collections import config_dict

from configs import image_folder_resnet8_sgd


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = image_folder_resnet8_sgd.get_config()
  config.optimizer = config_dict.create(
    name="adamw", arguments=dict(weight_decay=0.05)
  )
  config.learning_rate.peak = 3e-3
  config.l2_penalty = 0.0  # AdamW's decay is decoupled from the gradient.
  return config
