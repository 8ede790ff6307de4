r"""scikit-learn's handwritten digits, a small CNN.

Not an experiment of the paper: the smallest real task that trains in seconds
and needs no download.

python -m trainers.image_classification --config=configs/digits.py:WORDS \
    --workdir=runs/digits

WORDS, one of them, by default the first:

lookahead  Lookahead around the same SGD: k = 5, alpha = .5
sgd        SGD with momentum .9

Here is the final accuracy over 3 seeds (README.md), on 2026-11-28. No other
learning rate was tried:

words      rate  here
---------  ----  --------------
lookahead  .1    99.44 +- .48 %
sgd        .1    99.35 +- .42 %
"""

import ml_collections

from configs import image_classification, lookahead, words

WORDS = words.Words(__doc__, one_of=(("lookahead", "sgd"),))


def get_config(text: str = "") -> ml_collections.ConfigDict:
  """Returns the experiment that the words in `text` choose."""
  chosen = WORDS.choose(text)
  config = image_classification.get_config()
  config.num_epochs = 30.0
  config.global_batch_size = 64
  config.data.name = "digits"
  config.data.image_size = 8
  config.data.mean = (0.305,)
  config.data.std = (0.376,)
  config.data.crop_padding = 1
  config.learning_rate.schedule = "cosine"
  config.learning_rate.warmup = 1.0
  config.l2_penalty = 1e-4
  config.label_smoothing = 0.1
  config.steps_per_loop = 22  # One epoch.
  config.checkpoint_every_epochs = 10.0
  if "lookahead" in chosen:
    lookahead.add_to(config, sync_period=5, slow_step_size=0.5)
  return config
