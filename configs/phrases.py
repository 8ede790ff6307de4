r"""English-German phrases of CLDR, a small Transformer.

Not an experiment of the paper: dates, times, amounts and lists, composed from
packages that are installed anyway, on which a translation model learns in
minutes on two cores, without a download.

python -m trainers.translation --config=configs/phrases.py:WORDS \
    --workdir=runs/phrases

WORDS, one of them, by default the first:

lookahead  Lookahead around the same Adam: k = 5, alpha = .5
adam       Adam

In a smaller form of 300 steps Lookahead is behind Adam at this rate, and both
are better at three times the rate (docs/comparing.md). With 1,000 steps no
other rate was tried:

words      rate  here
---------  ----  ------------------------------------------------------------
lookahead  3e-3  BLEU 90.5 on the validation set (eval/bleu) and on the test
                 set, from one run that took 3 minutes and 7 seconds on two
                 cores (2026-11-26)
adam       3e-3  not run with this setting
"""

import ml_collections

from configs import lookahead, translation, words

WORDS = words.Words(__doc__, one_of=(("lookahead", "adam"),))


def get_config(text: str = "") -> ml_collections.ConfigDict:
  """Returns the experiment that the words in `text` choose."""
  chosen = WORDS.choose(text)
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
  if "lookahead" in chosen:
    lookahead.add_to(config, sync_period=5, slow_step_size=0.5)
  return config
