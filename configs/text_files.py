r"""Two text files of one's own, a small Transformer.

Not an experiment of the paper: a translation model for a few thousand pairs of
sentences, which trains in minutes on two cores.

python -m trainers.translation --config=configs/text_files.py:WORDS \
    --data_dir=FOLDER --workdir=runs/text_files \
    --config.data.train_source=FILE --config.data.train_target=FILE

Line i of the second file is the translation of line i of the first. Of the
lines a tenth is held out to validate, unless there are files for that:
docs/translation_data.md.

WORDS, one of them, by default the first:

lookahead  Lookahead around the same Adam: k = 5, alpha = .5
adam       Adam

words      rate  here
---------  ----  ------------------------------------------------------------
lookahead  3e-3  BLEU 22.9 of 517 pairs that were held out of the first 5,000
                 of Multi30k, English-German (docs/translation.md), from one
                 run of 12 minutes of CPU time (2026-11-28)
adam       3e-3  not run
"""

import ml_collections

from configs import lookahead, translation, words

WORDS = words.Words(__doc__, one_of=(("lookahead", "adam"),))


def get_config(text: str = "") -> ml_collections.ConfigDict:
  """Returns the experiment that the words in `text` choose."""
  chosen = WORDS.choose(text)
  config = translation.get_config()
  config.num_steps = 2_000
  config.data.name = "text_files"
  config.data.validation_fraction = 0.1
  config.vocabulary.size = 2_000
  config.vocabulary.split_digits = False
  config.model.dropout = 0.3
  config.learning_rate.peak = 3e-3
  config.learning_rate.warmup = 300
  config.learning_rate.decay_at = (300,)
  config.eval_every_steps = 500
  config.eval_sentences = 500
  config.eval_beam_size = 1
  config.checkpoint_every_steps = 500
  if "lookahead" in chosen:
    lookahead.add_to(config, sync_period=5, slow_step_size=0.5)
  return config
