"""English-German phrases of CLDR, a small Transformer, Adam.

Not an experiment of the paper: dates, times, amounts and lists, composed from
packages that are installed anyway, on which a translation model learns in
minutes on two cores, without a download.

python -m trainers.translation \
    --config=configs/cldr_transformer_adam.py --workdir=runs/cldr_adam

With this setting: not run.
"""

import ml_collections

from configs import translation


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = translation.get_config()
  config.num_steps = 1_000
  config.model.dropout = 0.0
  config.model.relu_dropout = 0.0
  config.model.attention_dropout = 0.0
  config.learning_rate.peak = 3e-3
  config.learning_rate.warmup = 200
  config.learning_rate.decay_at = (200,)
  config.eval_every_steps = 1_000
  config.eval_beam_size = 1
  config.checkpoint_every_steps = 1_000
  return config
