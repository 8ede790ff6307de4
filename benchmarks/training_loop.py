"""What does the training loop cost, over bare steps and over Keras' own fit?

All three train the same model with the same optimizer on the same batches, in
turn in one process, without evaluation and checkpoint. A bare step is one call
of a tf.function. The loop makes all steps of a round in one call, and writes
their metrics. Writes training_loop.md, training_loop.json and training_loop.png
to --results.

python -m benchmarks.training_loop --config=configs/digits.py
"""

import functools
import tempfile
import time
from collections.abc import Callable

import keras
import ml_collections
import tensorflow as tf
from absl import flags

from benchmarks.harness import chart, interleaving
from benchmarks.harness.report import (
  PATIENCE,
  ROUNDS,
  Report,
  define_config,
  run,
)
from experiments.results import make_table
from trainers import loop, metrics
from trainers.image_classification import experiment, sources
from trainers.image_classification import step as step_lib

_CONFIG = define_config("Experiment of the image trainer.")
_DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "Where the data is, as for the trainer."
)
_STEPS = flags.DEFINE_integer("steps", 100, "Steps in a round.", lower_bound=1)


def _training_ways(
  config: ml_collections.ConfigDict,
  data_dir: str | None,
  steps: int,
  workdir: str,
) -> dict[str, Callable[[], float]]:
  """Returns three ways of training, which return the seconds of an image.

  All train the same model with the same optimizer on the same batches, without
  evaluation and checkpoint: Keras' `fit`; bare steps, each one call of a
  `tf.function`; and the trainer's loop, which makes all steps in one call and
  writes their metrics.

  Args:
    config: An experiment, changed in place: the loss of `fit` has neither a
      penalty nor label smoothing.
    data_dir: Where the data is, as for the trainer.
    steps: Steps that are timed.
    workdir: Folder for the metrics.

  Raises:
    UserError: for what the user can put right.
  """
  with config.unlocked():
    config.l2_penalty = 0.0
    config.label_smoothing = 0.0
  data = config.data
  source = sources.load(
    data.name, data_dir, data.train_split, data.validation_split
  )
  makers = {
    "Keras' fit": _fit,
    "bare steps": _bare_steps,
    "training loop": functools.partial(_training_loop, workdir=workdir),
  }
  images = steps * config.global_batch_size
  ways = {
    name: make_seconds(config, source, steps)
    for name, make_seconds in makers.items()
  }
  return {
    name: lambda seconds=seconds: seconds() / images
    for name, seconds in ways.items()
  }


def _setup(config, source, strategy):
  """Returns an experiment, its model and batches."""
  unpacked = experiment.unpack(config, source, strategy)
  model = experiment.make_model_and_slots(unpacked, strategy)
  pipeline = unpacked.make_pipeline(
    source.train, context=tf.distribute.InputContext()
  )
  return unpacked, model, pipeline.batches(first_step=0)


def _make_train_step(unpacked, model):
  return step_lib.make_train_step(
    model,
    unpacked.optimizer,
    unpacked.objective,
    unpacked.clipping,
    replicas=1,
    jit_compile=unpacked.jit_compile,
  )


class _Stopwatch(keras.callbacks.Callback):
  """Times the epochs of `fit`; `seconds` is the time of the last one."""

  def on_epoch_begin(self, epoch, logs=None):
    self.started = time.perf_counter()

  def on_epoch_end(self, epoch, logs=None):
    self.seconds = time.perf_counter() - self.started


def _fit(config, source, steps):
  strategy = tf.distribute.get_strategy()  # None: as most users of fit.
  unpacked, model, batches = _setup(config, source, strategy)
  batches = batches.map(
    lambda images, labels: (
      step_lib.normalize(images, unpacked.objective),
      labels,
    ),
    num_parallel_calls=tf.data.AUTOTUNE,
  )
  model.compile(
    unpacked.optimizer,
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
    jit_compile=bool(config.jit_compile),
  )
  stopwatch = _Stopwatch()

  def seconds():
    # Two epochs, of which the second counts: the first starts the input.
    model.fit(
      batches,
      epochs=2,
      steps_per_epoch=steps,
      callbacks=[stopwatch],
      verbose=0,
    )
    return stopwatch.seconds

  return seconds


def _bare_steps(config, source, steps):
  strategy = tf.distribute.get_strategy()
  unpacked, model, dataset = _setup(config, source, strategy)
  train_step = _make_train_step(unpacked, model)
  step = tf.function(lambda batches: train_step(next(batches)))
  batches = iter(dataset)

  def make_steps():
    for _ in range(steps):
      values = step(batches)
    float(values["loss"])  # Waits for the last step.

  return functools.partial(_time_second_call, make_steps)


def _training_loop(config, source, steps, workdir):
  strategy = tf.distribute.OneDeviceStrategy("CPU:0")
  unpacked, model, dataset = _setup(config, source, strategy)
  train_step = _make_train_step(unpacked, model)
  run_steps = loop.make_loop(train_step, ("loss", "accuracy"), strategy)
  batches = iter(
    strategy.distribute_datasets_from_function(lambda context: dataset)
  )
  writer = metrics.MetricsWriter(workdir)

  def make_steps():
    means, _ = run_steps(batches, tf.constant(steps))
    writer.write(0, 0.0, {name: float(v) for name, v in means.items()})

  return functools.partial(_time_second_call, make_steps)


def _time_second_call(make_steps):
  """Returns the seconds of the second of two calls: the first starts input."""
  make_steps()
  started = time.perf_counter()
  make_steps()
  return time.perf_counter() - started


def main() -> None:
  """Measures, writes and prints."""
  report = Report(
    "training_loop",
    "What the training loop costs",
    ["lookahead-tf", "tensorflow", "keras"],
  )
  rounds = ROUNDS.value
  with tempfile.TemporaryDirectory() as workdir:
    ways = _training_ways(_CONFIG.value, _DATA_DIR.value, _STEPS.value, workdir)
    for seconds in ways.values():
      seconds()  # Compiles, and fills the cache.
    measurement = interleaving.measure(
      {"loop": ways}, rounds, "rounds", PATIENCE.value
    )
  seconds = measurement.seconds["loop"]
  record = {
    "seconds_per_image": seconds,
    "disturbed_rounds": measurement.disturbed,
  }
  fit, steps, _ = ways
  table = make_table(
    interleaving.compare_speeds(seconds, "images", [fit, steps])
  )
  report.write(
    f"{table}\n\n{rounds} rounds of {_STEPS.value} steps. "
    f"{interleaving.describe_disturbance([record], rounds)}\n",
    record,
  )
  chart.draw_speeds(
    {"images": seconds}, report.path(".png"), others=[fit, steps]
  )
  report.show()


if __name__ == "__main__":
  flags.mark_flags_as_required(["config"])
  run(main)
