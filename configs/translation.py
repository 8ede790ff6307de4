"""Fields of every translation experiment, with common values.

Not an experiment of its own, and without words: the others start from it.
`data` and `vocabulary` are described in docs/translation_data.md, the others in
docs/translation.md.
"""

import ml_collections
from ml_collections import config_dict

from configs import words

WORDS = words.Words(__doc__)


def get_config(text: str = "") -> ml_collections.ConfigDict:
  """Returns the fields, to be filled in."""
  WORDS.choose(text)
  config = config_dict.create(
    seed=0,
    num_steps=1_000,
    global_batch_tokens=2_048,
    data=_data(),
    vocabulary=_vocabulary(),
    model=_model(),
    optimizer=dict(
      name="adam", arguments=dict(beta_1=0.9, beta_2=0.997, epsilon=1e-9)
    ),
    lookahead=None,
    learning_rate=dict(
      schedule="rsqrt",
      peak=1e-3,
      unit="steps",  # Of warmup and decay_at.
      warmup=100,
      decay_at=(100,),
      decay_factor=0.1,
      # Of the schedule triangle:
      start_factor=0.0,
      end_factor=0.0,
    ),
    label_smoothing=0.1,
    decoding=_decoding(),
    steps_per_loop=100,
    eval_every_steps=1_000,
    eval_sentences=config_dict.placeholder(int),
    eval_beam_size=config_dict.placeholder(int),
    checkpoint_every_steps=1_000,
    keep_checkpoints=2,
    final_weights="best",
    average_checkpoints=1,
    jit_compile=config_dict.placeholder(bool),
  )
  # A config that starts from this one cannot set a field that does not exist.
  # Arguments are free: which of them exist depends on the optimizer.
  config.lock().optimizer.arguments.unlock()
  return config


def _data():
  return dict(
    name="cldr",
    source_language="en",
    target_language="de",
    train_split="train",
    validation_split="validation",
    test_split=config_dict.placeholder(str),
    train_source=config_dict.placeholder(str),
    train_target=config_dict.placeholder(str),
    validation_source=config_dict.placeholder(str),
    validation_target=config_dict.placeholder(str),
    test_source=config_dict.placeholder(str),
    test_target=config_dict.placeholder(str),
    validation_fraction=config_dict.placeholder(float),
    split_seed=0,
    max_length=64,
  )


def _vocabulary():
  return dict(
    kind="unigram",
    size=1_000,
    character_coverage=1.0,
    byte_fallback=True,
    split_digits=True,
    max_sentences=10_000_000,
  )


def _model():
  return dict(
    d_model=128,
    num_heads=4,
    num_layers=2,
    d_ff=512,
    dropout=0.1,
    relu_dropout=0.1,
    attention_dropout=0.1,
    shares_dropout=False,
  )


def _decoding():
  return dict(
    beam_size=4,
    length_penalty=0.6,
    extra_length=50,
    max_length=256,
    batch_tokens=2_048,
  )
