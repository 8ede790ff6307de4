"""Fields of every image classification experiment, with common values.

Not an experiment of its own, and without words: the others start from it. Each
field is described in docs/image_classification.md.
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
    num_epochs=1.0,
    global_batch_size=128,
    data=dict(
      name="digits",
      train_split="train",
      validation_split="validation",
      validation_fraction=config_dict.placeholder(float),
      split_seed=0,
      pipeline="small_images",
      image_size=32,
      mean=(0.5,),
      std=(0.5,),
      horizontal_flip=False,
      shuffle_buffer=50_000,
      # Of small_images alone:
      crop_padding=0,
      crop_fill="black",
      alternating_flip=False,
      cache=config_dict.placeholder(bool),
      # Of large_images alone:
      crop_area=config_dict.placeholder(tuple),
      crop_aspect_ratio=config_dict.placeholder(tuple),
      antialias=config_dict.placeholder(bool),
      eval_resize=config_dict.placeholder(int),
    ),
    model=dict(
      name="cnn",
      width=16,
      blocks_per_stage=(1, 1, 1),
      synchronized_batch_norm=True,
      batch_norm_momentum=0.9,
      batch_norm_bias_rate=1.0,
      logit_scale=1.0,
      # Of speedrun alone:
      whitening_images=config_dict.placeholder(int),
      whitening_bias_epochs=config_dict.placeholder(float),
    ),
    optimizer=dict(name="sgd", arguments=dict(momentum=0.9)),
    lookahead=None,
    learning_rate=dict(
      schedule="constant",
      peak=0.1,
      unit="epochs",  # Of warmup and decay_at.
      warmup=0.0,
      decay_at=(30.0, 60.0),
      decay_factor=0.1,
      # Of the schedule triangle:
      start_factor=0.0,
      end_factor=0.0,
    ),
    label_smoothing=0.0,
    test_time_augmentation="none",
    l2_penalty=0.0,
    steps_per_loop=100,
    eval_every_epochs=1.0,
    checkpoint_every_epochs=1.0,
    keep_checkpoints=2,
    jit_compile=config_dict.placeholder(bool),
  )
  # A config that starts from this one cannot set a field that does not exist.
  # Arguments are free: which of them exist depends on the optimizer.
  config.lock().optimizer.arguments.unlock()
  return config
