"""wmt14_transformer_base_lookahead without warmup: section 5.4.

The learning rate is at its greatest in the first 8,000 steps, and then decays
as there.

python -m trainers.translation \
    --config=configs/wmt14_transformer_base_no_warmup_lookahead.py \
    --data_dir=DIR --workdir=WORKDIR --precision=bfloat16

Expected: that it trains (the paper's plot). Here: not run.
"""

import ml_collections

from configs import wmt14_transformer_base_lookahead


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = wmt14_transformer_base_lookahead.get_config()
  config.learning_rate.factors = (
    "constant*rsqrt_normalized_decay*rsqrt_hidden_size"
  )
  return config
