"""wmt14_transformer_big_adam with Lookahead around the same Adam.

Not an experiment of the paper; k, alpha and the learning rate are those of
wmt14_transformer_base_lookahead.

python -m trainers.translation \
    --config=configs/wmt14_transformer_big_lookahead.py --data_dir=DIR \
    --workdir=WORKDIR --precision=bfloat16

Here: not run.
"""

import ml_collections

from configs import lookahead, wmt14_transformer_big_adam


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = wmt14_transformer_big_adam.get_config()
  config.learning_rate.constant = 0.04
  return lookahead.add_to(config, sync_period=10, slow_step_size=0.5)
