r"""The topics of Python's documentation, a small AWD-LSTM.

Not an experiment of the paper: 60,000 words that come with Python, on which a
language model learns in minutes on two cores, without a download.

python -m trainers.language_modeling --config=configs/pydoc.py:WORDS \
    --workdir=runs/pydoc

WORDS, one of the first line, by default the first:

adam, sgd, nt_asgd  the optimizer
lookahead           Lookahead around adam or sgd: k = 5, alpha = .5

Here is the perplexity of the validation and of the test split, from one run
each on two cores with a load of 7 (2026-11-28): 169 seconds with Lookahead,
and without it 189, in two parts.

words           rate   here
--------------  -----  ----------
adam,lookahead  0.01   58.8, 48.0
adam            0.01   54.8, 42.7
sgd,lookahead   10     not run
sgd             10     not run
nt_asgd         10     not run
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
  language_modeling.choose_optimizer(config, chosen, adam=1e-2, sgd=10.0)
  return config
