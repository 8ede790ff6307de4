"""What does the training loop cost, over bare steps and over Keras' own fit?

All train the same model with the same optimizer on the same batches, in turn in
one process, without evaluation and checkpoint. A bare step is one call of a
tf.function. The loop makes all steps of a round in one call, and writes their
figures. Prints images per second, and writes the table and a picture to
--workdir.

python -m benchmarks.training_loop --data_dir=FOLDER --workdir=runs/loop \
    --config=configs/image_folder.py
"""

import itertools
import os
import statistics
import time

import keras
import matplotlib
import tensorflow as tf
from absl import app, flags
from ml_collections import config_flags

from benchmarks import interleaved
from trainers import loop, metrics
from trainers import workdir as workdir_lib
from trainers.image_classification import (
  input_pipeline,
  sources,
  train,
  training_step,
)

matplotlib.use("Agg")  # There may be no screen.
from matplotlib import pyplot as plt

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Where to write the results.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As for the trainer.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds of each.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 100, "Steps in a round.", lower_bound=1)


def _setup(config, source, strategy):
  """Returns what both ways start from: a model, its optimizer and batches."""
  plan = train.make_plan(config, source.train.size)
  model, optimizer = train.make_model_and_optimizer(
    config, source, plan, strategy
  )
  batches = input_pipeline.train_batches(
    source.train,
    config.data,
    seed=config.seed,
    global_batch_size=config.global_batch_size,
    first_step=0,
    context=tf.distribute.InputContext(),
  )
  return model, optimizer, batches


def _rounds_of_fit(config, source):
  """Yields the seconds of a round, for ever."""
  strategy = tf.distribute.get_strategy()  # None: as most users of fit.
  model, optimizer, batches = _setup(config, source, strategy)
  batches = batches.map(
    lambda images, labels: (
      input_pipeline.normalize(images, config.data),
      labels,
    ),
    num_parallel_calls=tf.data.AUTOTUNE,
  )
  model.compile(
    optimizer,
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
    jit_compile=bool(config.jit_compile),
  )

  class Stopwatch(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
      self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
      self.seconds = time.perf_counter() - self.started

  stopwatch = Stopwatch()
  while True:
    # Two epochs, of which the second counts: the first starts the input.
    model.fit(
      batches,
      epochs=2,
      steps_per_epoch=_STEPS.value,
      callbacks=[stopwatch],
      verbose=0,
    )
    yield stopwatch.seconds


def _rounds_of_bare_steps(config, source):
  """Yields the seconds of a round of single compiled steps, for ever."""
  strategy = tf.distribute.get_strategy()
  model, optimizer, dataset = _setup(config, source, strategy)
  train_step = training_step.make_train_step(model, optimizer, config, strategy)
  step = tf.function(lambda batches: train_step(next(batches)))
  batches = iter(dataset)

  def make_steps():
    for _ in range(_STEPS.value):
      figures = step(batches)
    float(figures["loss"])  # Waits for the last step.

  yield from _time(make_steps)


def _rounds_of_the_loop(config, source):
  """Yields the seconds of a round, with what the host does, for ever."""
  strategy = tf.distribute.OneDeviceStrategy("CPU:0")
  model, optimizer, dataset = _setup(config, source, strategy)
  train_step = training_step.make_train_step(model, optimizer, config, strategy)
  run_steps = loop.make_loop(train_step, ("loss", "accuracy"), strategy)
  batches = iter(
    strategy.distribute_datasets_from_function(lambda context: dataset)
  )
  writer = metrics.MetricsWriter(_WORKDIR.value)

  def make_steps():
    figures, _ = run_steps(batches, tf.constant(_STEPS.value))
    writer.write(0, 0.0, {name: float(v) for name, v in figures.items()})

  yield from _time(make_steps)


def _time(make_steps):
  """Yields the seconds of a second call in a row, for ever."""
  while True:
    make_steps()
    started = time.perf_counter()
    make_steps()
    yield time.perf_counter() - started


def _make_table(speeds):
  lines = [
    "| | images per second, median | least | greatest |",
    "|---|---|---|---|",
  ]
  for name, values in speeds.items():
    figures = (statistics.median(values), min(values), max(values))
    lines.append(
      f"| {name} | " + " | ".join(f"{v:.0f}" for v in figures) + " |"
    )
  for other in ("fit", "bare steps"):
    ratio = interleaved.compare(speeds["training loop"], speeds[other])
    lines.append(
      f"\nThe loop's over that of {other}, round by round: {ratio.median:.3f}, "
      f"95 % interval {ratio.low:.3f} to {ratio.high:.3f}."
    )
  lines.append(f"\n{len(speeds['fit'])} rounds of {_STEPS.value} steps.\n")
  return "\n".join(lines)


def _draw(speeds, path):
  figure, axis = plt.subplots(figsize=(5, 2.2), dpi=120)
  for i, (name, values) in enumerate(speeds.items()):
    axis.barh(name, statistics.median(values), color=f"C{i}", alpha=0.5)
    axis.plot(values, [name] * len(values), "o", color=f"C{i}", markersize=4)
  axis.set_xlabel("images per second (dots: rounds)")
  axis.spines[["top", "right"]].set_visible(False)
  figure.tight_layout()
  figure.savefig(path)


def main(arguments: list[str]) -> None:
  """Measures, prints and draws."""
  if len(arguments) > 1:
    raise app.UsageError(f"Unknown arguments: {arguments[1:]}")
  config = _CONFIG.value
  with config.unlocked():
    config.l2_penalty = 0.0  # The same work: compile's loss has no penalty
    config.label_smoothing = 0.0  # and no smoothing.
  os.makedirs(_WORKDIR.value, exist_ok=True)
  source = sources.load(config.data, _DATA_DIR.value)
  ways = {
    "fit": _rounds_of_fit(config, source),
    "bare steps": _rounds_of_bare_steps(config, source),
    "training loop": _rounds_of_the_loop(config, source),
  }
  for rounds in ways.values():
    next(rounds)  # Compiles, and fills the cache.
  speeds = {name: [] for name in ways}
  for _, (name, rounds) in itertools.product(
    range(_ROUNDS.value), ways.items()
  ):
    images = _STEPS.value * config.global_batch_size
    speeds[name].append(images / next(rounds))
    print(f"{name}: {speeds[name][-1]:.0f} images per second", flush=True)
  table = _make_table(speeds)
  workdir_lib.write_whole(os.path.join(_WORKDIR.value, "table.md"), table)
  picture = os.path.join(_WORKDIR.value, "speed.png")
  _draw(speeds, picture)
  print(f"\n{table}\nPicture: {picture}")


if __name__ == "__main__":
  flags.mark_flags_as_required(["config", "workdir"])
  app.run(main)
