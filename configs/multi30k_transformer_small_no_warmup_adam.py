"""multi30k_transformer_small_adam without warmup.

The learning rate is the greatest from the first step on.

python -m trainers.translation \
    --config=configs/multi30k_transformer_small_no_warmup_adam.py \
    --data_dir=DIR --workdir=WORKDIR

Here: not run; a smaller form was, see docs/warmup.md.
"""

import ml_collections

from configs import multi30k_transformer_small_adam


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = multi30k_transformer_small_adam.get_config()
  config.learning_rate.factors = "constant*rsqrt_normalized_decay"
  return config
