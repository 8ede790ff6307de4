"""Is the training loop as fast as Keras' fit?

Trains one model by both in turn, on the same batches with the same optimizer,
in one process, and prints images per second of each round.

python -m benchmarks.training_loop \
    --config=configs/image_folder_resnet8_lookahead.py --data_dir=FOLDER
"""

import time

import keras
from absl import flags
from ml_collections import config_flags

from trainers import optimizers, schedules
from trainers.image_classification import input_pipeline, train
from trainers.image_classification.model import make_model

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As for the trainer.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds that are counted.")
_STEPS = flags.DEFINE_integer("steps", 156, "Training steps in a round.")


def _fit_rounds(config, source):
  """Yields the images per second of `fit` for ever, a round at a time."""
  plan = train.make_plan(config, source.train.size)
  model = make_model(
    config.model,
    image_shape=(config.data.image_size,) * 2 + (source.channels,),
    num_classes=len(source.class_names),
  )
  schedule = schedules.make_schedule(
    config.learning_rate, plan.steps_per_epoch, plan.total_steps
  )
  model.compile(
    optimizers.make_optimizer(config, schedule),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
    jit_compile=config.jit_compile,
  )
  batches = iter(
    input_pipeline.train_batches(
      source.train,
      config.data,
      seed=0,
      global_batch_size=config.global_batch_size,
      replica_batch_size=config.global_batch_size,
      first_step=0,
    )
  )
  while True:
    started = time.perf_counter()
    model.fit(batches, steps_per_epoch=_STEPS.value, verbose=0)
    seconds = time.perf_counter() - started
    yield _STEPS.value * config.global_batch_size / seconds
