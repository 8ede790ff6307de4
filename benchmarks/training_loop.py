"""Is the training loop as fast as Keras' own fit?

Both train the same model with the same optimizer on the same batches, in turn
in one process, and nothing else: no evaluation, no checkpoint. Prints images
per second, and writes the table and a picture to --workdir.

python -m benchmarks.training_loop --data_dir=FOLDER --workdir=runs/loop \
    --config=configs/image_folder_resnet8_lookahead.py
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

from trainers import loop
from trainers import workdir as workdir_lib
from trainers.image_classification import input_pipeline, sources, train

matplotlib.use("Agg")  # There may be no screen.
from matplotlib import pyplot as plt

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Where to write the results.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As for the trainer.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds of each.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 78, "Steps in a round.", lower_bound=1)


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
    replica_batch_size=config.global_batch_size,
    first_step=0,
  )
  return model, optimizer, batches


def _rounds_of_fit(config, source):
  """Yields the seconds of a round, for ever."""
  strategy = tf.distribute.get_strategy()  # None: as most users of fit.
  model, optimizer, batches = _setup(config, source, strategy)
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


def _rounds_of_the_loop(config, source):
  """Yields the seconds of a round, for ever."""
  strategy = tf.distribute.OneDeviceStrategy("CPU:0")
  model, optimizer, dataset = _setup(config, source, strategy)
  train_step = train.make_train_step(model, optimizer, config, strategy)
  run_steps = loop.make_loop(train_step, ("loss", "accuracy"), strategy)
  batches = iter(
    strategy.distribute_datasets_from_function(lambda context: dataset)
  )
  while True:
    run_steps(batches, tf.constant(_STEPS.value))
    started = time.perf_counter()
    float(run_steps(batches, tf.constant(_STEPS.value))["loss"])
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
  ratios = [a / b for a, b in zip(speeds["training loop"], speeds["fit"])]
  lines.append(
    f"\nThe loop's over fit's, round by round: {statistics.median(ratios):.3f} "
    f"({min(ratios):.3f} to {max(ratios):.3f}), {len(ratios)} rounds of "
    f"{_STEPS.value} steps.\n"
  )
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
  source = sources.load(config.data, _DATA_DIR.value)
  ways = {
    "fit": _rounds_of_fit(config, source),
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
  os.makedirs(_WORKDIR.value, exist_ok=True)
  table = _make_table(speeds)
  workdir_lib.write_whole(os.path.join(_WORKDIR.value, "table.md"), table)
  picture = os.path.join(_WORKDIR.value, "speed.png")
  _draw(speeds, picture)
  print(f"\n{table}\nPicture: {picture}")


if __name__ == "__main__":
  flags.mark_flags_as_required(["config", "workdir"])
  app.run(main)
