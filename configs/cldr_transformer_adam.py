"""English-German phrases of CLDR, a small Transformer, Adam.

Not an experiment of the paper: dates, times, amounts and lists, composed from
packages that are installed anyway, on which a translation model learns in
minutes on two cores, without a download.

python -m trainers.translation \
    --config=configs/cldr_transformer_adam.py --workdir=runs/cldr_adam
"""

import ml_collections

from configs import translation


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = translation.get_config()
  config.num_steps = 1_500
  config.eval_every_steps = 500
  config.checkpoint_every_steps = 500
  return config
