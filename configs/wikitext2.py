r"""WikiText-2, or another directory of text: an AWD-LSTM.

Not an experiment of the paper.

python -m trainers.language_modeling --config=configs/wikitext2.py:WORDS \
    --data_dir=DIR --workdir=WORKDIR

DIR holds wiki.train.tokens, wiki.valid.tokens and wiki.test.tokens, or
train.txt, valid.txt and test.txt.

WORDS, one of each of the first two lines, by default the first:

middle, large       the model and how long it is trained
adam, sgd, nt_asgd  the optimizer
lookahead           Lookahead around adam or sgd: k = 5, alpha = .5

middle  2 layers of 400, embeddings of 200, 12 epochs of batches of 40: for a
        part of WikiText-2 on two cores.
large   The sizes and the regularization of ptb.py.

Here is the perplexity of the validation and of the test split where the text is
that of WikiText-2's own validation and test, cut anew: 241,000 words to train
on. One run of 25 minutes on two cores with a load of 15 (2026-11-28).

words                  rate   here
---------------------  -----  ------------
middle,adam,lookahead  0.003  176.2, 190.4
middle,adam            0.003  not run
middle,sgd             15     not run
middle,sgd,lookahead   15     not run
middle,nt_asgd         15     not run
large,adam,lookahead   0.001  not run
large,adam             0.001  not run
large,sgd              30     not run
"""

import ml_collections

from configs import language_modeling, words

WORDS = words.Words(
  __doc__,
  one_of=(("middle", "large"), language_modeling.OPTIMIZERS),
  any_of=(language_modeling.WITH_LOOKAHEAD,),
  exclude=language_modeling.EXCLUDE,
)


def get_config(text: str = "") -> ml_collections.ConfigDict:
  """Returns the experiment that the words in `text` choose."""
  chosen = WORDS.choose(text)
  config = language_modeling.get_config()
  config.data.name = "text_files"
  config.data.made_up_words = 33_278
  if "large" in chosen:
    language_modeling.make_large(config)
    language_modeling.choose_optimizer(config, chosen, adam=1e-3, sgd=30.0)
    return config
  config.num_epochs = 12.0
  config.global_batch_size = 40
  config.model.embedding_size = 200
  config.model.hidden_size = 400
  config.model.input_dropout = 0.4
  config.eval_batch_size = 80
  config.plateau.patience = 2
  language_modeling.choose_optimizer(config, chosen, adam=3e-3, sgd=15.0)
  return config
