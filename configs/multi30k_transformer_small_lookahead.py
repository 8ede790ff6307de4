"""multi30k_transformer_small_adam with Lookahead around the same Adam.

python -m trainers.translation \
    --config=configs/multi30k_transformer_small_lookahead.py --data_dir=DIR \
    --workdir=WORKDIR

Expected: BLEU 35.6 on val, of the average of the last five checkpoints, and 32
from step 2,000 on (eval/bleu, greedy), from one run on two cores (2026-11-26)
that took 37 minutes; other programs ran there at the same time.
"""

import ml_collections

from configs import lookahead, multi30k_transformer_small_adam


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = multi30k_transformer_small_adam.get_config()
  return lookahead.add_to(config, sync_period=5, slow_step_size=0.5)
