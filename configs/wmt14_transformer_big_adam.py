"""WMT14 English-German, Transformer big, Adam.

Not an experiment of the paper: wmt14_transformer_base_adam with the width,
heads and dropout of tensor2tensor's `transformer_big`.

python -m trainers.translation \
    --config=configs/wmt14_transformer_big_adam.py --data_dir=DIR \
    --workdir=WORKDIR --precision=bfloat16

Here: not run.
"""

import ml_collections

from configs import wmt14_transformer_base_adam


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = wmt14_transformer_base_adam.get_config()
  config.model.d_model = 1_024
  config.model.num_heads = 16
  config.model.d_ff = 4_096
  config.model.dropout = 0.3
  return config
