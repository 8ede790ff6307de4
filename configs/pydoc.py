r"""The topics of Python's documentation, a small AWD-LSTM.

Not an experiment of the paper: 60,000 words that come with Python, on which a
language model learns in minutes on two cores, without a download.

python -m trainers.language_modeling --config=configs/pydoc.py:WORDS \
    --workdir=runs/pydoc

WORDS, one of the first line, by default the first:

adam, sgd, nt_asgd  the optimizer
lookahead           Lookahead around adam or sgd: k = 5, alpha = .5

Here is the perplexity of the validation and of the test split after 8 epochs,
half of the default: means of three seeds, each at the best of four rates
(2026-11-28, docs/language_modeling.md).

words           rate   here
--------------  -----  ----------
adam,lookahead  0.03   61.3, 50.3
adam            0.01   65.5, 54.1
sgd,lookahead   30     85.4, 74.8
sgd             30     64.2, 53.7
nt_asgd         30     not run
"""

import ml_collections

from configs import language_modeling, words

WORDS = words.Words(
  __doc__,
  one_of=(language_modeling.OPTIMIZERS,),
  any_of=(language_modeling.WITH_LOOKAHEAD,),
  exclude=language_modeling.EXCLUDE,
)


def get_config(text: str = "") -> ml_collections.ConfigDict:
  """Returns the experiment that the words in `text` choose."""
  chosen = WORDS.choose(text)
  config = language_modeling.get_config()
  config.num_epochs = 16.0
  config.learning_rate.schedule = "cosine"
  config.plateau.patience = 0
  language_modeling.choose_optimizer(config, chosen, adam=1e-2, sgd=30.0)
  if chosen >= {"adam", language_modeling.WITH_LOOKAHEAD}:
    config.learning_rate.peak = 3e-2
  return config
