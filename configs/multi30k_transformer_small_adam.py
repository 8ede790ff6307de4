"""Multi30k English-German, a small Transformer, Adam.

Not an experiment of the paper: 29,000 captions, on which a model of 3 + 3
layers learns on two cores.

python -m trainers.translation \
    --config=configs/multi30k_transformer_small_adam.py --data_dir=DIR \
    --workdir=WORKDIR

DIR holds train.en.gz, train.de.gz, val.en.gz and val.de.gz. Here: not run; a
smaller form was, see docs/warmup.md.
"""

import ml_collections

from configs import translation


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = translation.get_config()
  config.num_steps = 3_000
  config.data.name = "text_files"
  config.data.train_source = "train.en.gz"
  config.data.train_target = "train.de.gz"
  config.data.validation_source = "val.en.gz"
  config.data.validation_target = "val.de.gz"
  config.vocabulary.size = 5_000
  config.vocabulary.split_digits = False
  config.model.d_model = 256
  config.model.num_layers = 3
  config.model.d_ff = 512
  config.model.dropout = 0.2
  config.learning_rate.constant = 2e-3
  config.learning_rate.warmup_steps = 500
  config.eval_every_steps = 500
  config.eval_beam_size = 1
  config.checkpoint_every_steps = 200
  config.keep_checkpoints = 5
  config.final_weights = "average"
  config.average_checkpoints = 5
  return config
