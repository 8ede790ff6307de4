r"""Multi30k English-German, a small Transformer.

Not an experiment of the paper: 29,000 captions, on which a model of 3 + 3
layers learns on two cores.

python -m trainers.translation --config=configs/multi30k.py:WORDS \
    --data_dir=DIR --workdir=WORKDIR

DIR holds train.en.gz, train.de.gz, val.en.gz and val.de.gz.

WORDS, one of the first line, by default the first:

lookahead, adam  the optimizer; lookahead goes around the same adam: k = 5,
                 alpha = .5
no_warmup        the learning rate is the greatest from the first step on

No other learning rate was tried. At this one, in a smaller form of 500 steps,
Lookahead is behind Adam: docs/warmup.md.

words                rate  here
-------------------  ----  --------------------------------------------------
lookahead            2e-3  BLEU 35.6 on val, of the average of the last five
                           checkpoints, and 32 from step 2,000 on (eval/bleu,
                           greedy), from one run on two cores (2026-11-26)
                           that took 37 minutes; other programs ran there at
                           the same time
adam                 2e-3  not run; the smaller form was
no_warmup,lookahead  2e-3  not run; the smaller form was
no_warmup,adam       2e-3  not run; the smaller form was
"""

import ml_collections

from configs import lookahead, translation, words

WORDS = words.Words(
  __doc__, one_of=(("lookahead", "adam"),), any_of=("no_warmup",)
)


def get_config(text: str = "") -> ml_collections.ConfigDict:
  """Returns the experiment that the words in `text` choose."""
  chosen = WORDS.choose(text)
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
  config.learning_rate.peak = 2e-3
  config.learning_rate.warmup = 500
  config.learning_rate.decay_at = (500,)
  config.eval_every_steps = 500
  config.eval_beam_size = 1
  config.checkpoint_every_steps = 200
  config.keep_checkpoints = 5
  config.final_weights = "average"
  config.average_checkpoints = 5
  if "no_warmup" in chosen:
    config.learning_rate.warmup = 0
  if "lookahead" in chosen:
    lookahead.add_to(config, sync_period=5, slow_step_size=0.5)
  return config
