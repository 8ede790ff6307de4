"""multi30k_transformer_small_no_warmup_adam with Lookahead around that Adam.

python -m trainers.translation \
    --config=configs/multi30k_transformer_small_no_warmup_lookahead.py \
    --data_dir=DIR --workdir=WORKDIR

Here: not run; a smaller form was, see docs/warmup.md.
"""

import ml_collections

from configs import lookahead, multi30k_transformer_small_no_warmup_adam


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = multi30k_transformer_small_no_warmup_adam.get_config()
  return lookahead.add_to(config, sync_period=5, slow_step_size=0.5)
