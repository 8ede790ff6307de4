r"""Penn Treebank, the AWD-LSTM: the paper's section 5.3.

python -m trainers.language_modeling --config=configs/ptb.py:WORDS \
    --data_dir=DIR --workdir=WORKDIR

DIR holds ptb.train.txt, ptb.valid.txt and ptb.test.txt in Mikolov's form.

WORDS, one of each of the first two lines, by default the first:

large, small        the model and how long it is trained
adam, sgd, nt_asgd  the optimizer
lookahead           Lookahead around adam or sgd: k = 5, alpha = .5

large      The paper's: 3 layers of 1150, 750 epochs of batches of 80, the
           learning rate halved after 15 without a better validation loss.
small      2 layers of 256, 20 epochs of batches of 20: not in the paper.
adam       The paper's learning rates are .1, .05, .01, .005, .001, .0005 and
           .0001. Here is .001; which of them was best is not known.
sgd        The paper's learning rates are 50, 30, 10, 5, 2.5, 1 and .1. Here is
           30, that of the reference implementation.
lookahead  The paper has k of 5 and 10 and alpha of .5 and .8, as in
           --config.lookahead.sync_period=10
           --config.lookahead.slow_step_size=0.8
nt_asgd    Averaging that begins when the validation loss is worse than the best
           of those five and more evaluations before, as in the paper of the
           AWD-LSTM.

Expected is the order of the perplexities, on each of the three splits:

words                 section  expected           rate   here
--------------------  -------  -----------------  -----  -------
large,adam,lookahead  5.3      the best of these  0.001  not run
large,adam            5.3      the second         0.001  not run
large,sgd             5.3      the last           30     not run
large,sgd,lookahead   5.3      -                  30     not run
large,nt_asgd         -        -                  30     not run
small,adam,lookahead  -        -                  0.003  not run
small,adam            -        -                  0.003  not run
small,sgd             -        -                  10     not run
"""

import ml_collections

from configs import language_modeling, words

WORDS = words.Words(
  __doc__,
  one_of=(("large", "small"), language_modeling.OPTIMIZERS),
  any_of=(language_modeling.WITH_LOOKAHEAD,),
  exclude=language_modeling.EXCLUDE,
)


def get_config(text: str = "") -> ml_collections.ConfigDict:
  """Returns the experiment that the words in `text` choose."""
  chosen = WORDS.choose(text)
  config = language_modeling.get_config()
  config.data.name = "text_files"
  if "large" in chosen:
    language_modeling.make_large(config)
    language_modeling.choose_optimizer(config, chosen, adam=1e-3, sgd=30.0)
  else:
    config.num_epochs = 20.0
    config.plateau.patience = 3
    language_modeling.choose_optimizer(config, chosen, adam=3e-3, sgd=10.0)
  return config
