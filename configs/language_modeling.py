"""Fields of every language modeling experiment, with common values.

Not an experiment of its own, and without words: the others start from it. The
fields are described in docs/language_modeling.md.
"""

from collections.abc import Set

import ml_collections
from ml_collections import config_dict

from configs import lookahead, words

WORDS = words.Words(__doc__)

# The words for the optimizer, which all files of language models take.
OPTIMIZERS = ("adam", "sgd", "nt_asgd")
WITH_LOOKAHEAD = "lookahead"
EXCLUDE = (("nt_asgd", WITH_LOOKAHEAD),)


def get_config(text: str = "") -> ml_collections.ConfigDict:
  """Returns the fields, to be filled in."""
  WORDS.choose(text)
  config = config_dict.create(
    seed=0,
    num_epochs=10.0,
    global_batch_size=20,
    bptt=35,
    bptt_lengths=(18, 30, 40),
    data=dict(
      name="pydoc",
      train_file=config_dict.placeholder(str),
      validation_file=config_dict.placeholder(str),
      test_file=config_dict.placeholder(str),
      made_up_words=10_000,
    ),
    model=dict(
      embedding_size=128,
      hidden_size=256,
      num_layers=2,
      word_dropout=0.1,
      input_dropout=0.3,
      hidden_dropout=0.3,
      output_dropout=0.4,
      weight_dropout=0.3,
    ),
    activation_penalty=2.0,
    temporal_penalty=1.0,
    optimizer=dict(
      name="sgd", arguments=dict(global_clipnorm=0.25, weight_decay=1.2e-6)
    ),
    lookahead=None,
    learning_rate=dict(
      schedule="constant",
      peak=10.0,
      unit="epochs",  # Of warmup and decay_at.
      warmup=0.0,
      decay_at=(),
      decay_factor=0.1,
      # Of the schedule triangle:
      start_factor=0.0,
      end_factor=0.0,
    ),
    plateau=dict(patience=15, factor=0.5),
    eval_batch_size=20,
    eval_context=200,
    steps_per_loop=50,
    eval_every_epochs=1.0,
    checkpoint_every_epochs=1.0,
    keep_checkpoints=2,
    final_weights="best",
    jit_compile=config_dict.placeholder(bool),
  )
  # A config that starts from this one cannot set a field that does not exist.
  # Arguments are free: which of them exist depends on the optimizer.
  config.lock().optimizer.arguments.unlock()
  return config


def choose_optimizer(
  config: ml_collections.ConfigDict,
  chosen: Set[str],
  *,
  adam: float,
  sgd: float,
) -> None:
  """Sets the optimizer that words choose.

  Args:
    config: An experiment, changed in place.
    chosen: The words.
    adam: The learning rate of Adam.
    sgd: The learning rate of SGD and of NT-ASGD.
  """
  (config.optimizer.name,) = chosen.intersection(OPTIMIZERS)
  config.learning_rate.peak = adam if "adam" in chosen else sgd
  if "nt_asgd" in chosen:
    config.optimizer.arguments.patience = 5
  if WITH_LOOKAHEAD in chosen:
    lookahead.add_to(config, sync_period=5, slow_step_size=0.5)


def make_large(config: ml_collections.ConfigDict) -> None:
  """Gives an experiment the sizes and the regularization of the paper."""
  config.num_epochs = 750.0
  config.global_batch_size = 80
  config.bptt = 70
  config.bptt_lengths = (35, 65, 75)
  config.model.embedding_size = 400
  config.model.hidden_size = 1150
  config.model.num_layers = 3
  config.model.word_dropout = 0.1
  config.model.input_dropout = 0.65
  config.model.hidden_dropout = 0.3
  config.model.output_dropout = 0.4
  config.model.weight_dropout = 0.5
  config.eval_batch_size = 80
