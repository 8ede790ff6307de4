"""image_folder_resnet8_adamw with Lookahead around the same AdamW.

python -m trainers.image_classification \
    --config=configs/image_folder_resnet8_adamw_lookahead.py --data_dir=FOLDER \
    --workdir=runs/image_folder_resnet8_adamw_lookahead
"""

import ml_collections

from configs import image_folder_resnet8_adamw, lookahead


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  return lookahead.add_to(
    image_folder_resnet8_adamw.get_config(), sync_period=5, slow_step_size=0.5
  )
