"""How fast is a trainer's step beside PyTorch's on the same cores?

Times whole training steps (forward, backward, SGD with momentum and weight
decay) of the wide CIFAR ResNet-18 and of ResNet-50: ours are those that the
image trainer runs, bare and with Lookahead, as a graph and by XLA; PyTorch's is
that of the same model, in a process of its own with as many threads. They take
turns. Batches stay in memory. Writes table.md, results.json and speed.png.

python -m benchmarks.train_step --workdir=runs/train_step \
    --peers_python=peers/bin/python  # See requirements-peers.txt.
"""

import contextlib
import dataclasses
import functools
import os
import statistics
import sys
import time

import keras
import matplotlib
import ml_collections
import numpy as np
import tensorflow as tf
import tqdm
from absl import app, flags

from benchmarks import interleaved, peers, results
from configs import (
  cifar10_resnet18_sgd,
  imagenet_resnet50_sgd,
  lookahead,
)
from trainers import optimizers, schedules
from trainers.image_classification import model as image_model
from trainers.image_classification import training_step

matplotlib.use("Agg")  # There may be no screen.
from matplotlib import pyplot as plt

_WORKDIR = flags.DEFINE_string("workdir", None, "Where to write the results.")
_PEERS_PYTHON = flags.DEFINE_string(
  "peers_python", None, "Interpreter with PyTorch; without it ours alone."
)
_ROUNDS = flags.DEFINE_integer("rounds", 10, "Of each.", lower_bound=1)
_STEPS = flags.DEFINE_integer(
  "steps", 5, "Steps in a round: with Lookahead, a period.", lower_bound=1
)
_PATIENCE = flags.DEFINE_float(
  "patience", 300.0, "Seconds that each model may wait for a quiet machine."
)
_MODELS = flags.DEFINE_multi_enum(
  "models", ["resnet18", "resnet50"], ["resnet18", "resnet50"], "Models."
)
# What the table calls them, whether by XLA, and whether with Lookahead.
_VARIANTS = {
  "graph": ("ours, graph", False, False),
  "graph_lookahead": ("ours, graph, Lookahead", False, True),
  "xla": ("ours, XLA", True, False),
  "xla_lookahead": ("ours, XLA, Lookahead", True, True),
}
_OURS = flags.DEFINE_multi_enum(
  "variants", list(_VARIANTS), list(_VARIANTS), "Of ours."
)
_BATCH_SIZE = flags.DEFINE_integer(
  "batch_size", None, "Of all models, if not their own.", lower_bound=1
)

_PYTORCH = "PyTorch"
_GOAL = 1.1


@dataclasses.dataclass(frozen=True)
class Case:
  """A model and how it is trained.

  Attributes:
    title: For people.
    config: An experiment without Lookahead.
    classes: Number of labels.
    batch_size: Images in a step.
  """

  title: str
  config: ml_collections.ConfigDict
  classes: int
  batch_size: int


def _case(name):
  title, config, classes, batch_size = {
    "resnet18": ("wide ResNet-18, 32x32", cifar10_resnet18_sgd, 10, 64),
    "resnet50": ("ResNet-50, 224x224", imagenet_resnet50_sgd, 1000, 8),
  }[name]
  config = config.get_config()
  config.global_batch_size = _BATCH_SIZE.value or batch_size
  return Case(title, config, classes, config.global_batch_size)


def _make_unit(case, uses_xla, has_lookahead):
  """Returns a function of a number of steps, the seconds of one on average."""
  config = ml_collections.ConfigDict(case.config)
  config.jit_compile = uses_xla
  if has_lookahead:
    lookahead.add_to(config, sync_period=5, slow_step_size=0.5)
  keras.utils.set_random_seed(0)
  strategy = tf.distribute.OneDeviceStrategy("CPU:0")
  size = config.data.image_size
  with strategy.scope():
    model = image_model.make_model(
      config.model, image_shape=(size, size, 3), num_classes=case.classes
    )
    optimizer = optimizers.make_optimizer(
      config, schedules.make_schedule(config.learning_rate, 1000, 100_000)
    )
    optimizer.build(model.trainable_variables)
  train_step = training_step.make_train_step(model, optimizer, config, strategy)
  random = np.random.default_rng(0)
  images = random.random((case.batch_size, size, size, 3), "float32")
  labels = random.integers(case.classes, size=case.batch_size, dtype="int32")
  batch = tf.constant(images), tf.constant(labels)

  def unit(steps):
    started = time.perf_counter()
    for _ in range(steps):
      figures = train_step(batch)
    float(figures["loss"])  # Waits for the last step.
    return (time.perf_counter() - started) / steps

  unit(_STEPS.value)  # Compiles, and touches all memory.
  return unit


def _time_case(name, run):
  """Returns a record for results.json."""
  case = _case(name)
  units = {}
  with contextlib.ExitStack() as stack:
    if _PEERS_PYTHON.value:
      peer = stack.enter_context(
        peers.Peer(
          _PEERS_PYTHON.value,
          "torch_training",
          warmup_steps=_STEPS.value,
          model=name,
          batch_size=case.batch_size,
          threads=len(os.sched_getaffinity(0)),
        )
      )
      run["versions"] |= peer.versions
      units[_PYTORCH] = functools.partial(peer.run, "bare")
    for variant in tqdm.tqdm(_OURS.value, f"{case.title}: compile"):
      label, *options = _VARIANTS[variant]
      units[label] = _make_unit(case, *options)
    measurement = interleaved.measure(
      {
        case.title: {
          label: functools.partial(unit, _STEPS.value)
          for label, unit in units.items()
        }
      },
      _ROUNDS.value,
      case.title,
      _PATIENCE.value,
    )
  return {
    "model": case.title,
    "batch_size": case.batch_size,
    "seconds_per_step": measurement.seconds[case.title],
    "disturbed_rounds": measurement.disturbed,
  }


def _speeds(record):
  """Returns the images per second of each round, by variant."""
  return {
    label: [record["batch_size"] / value for value in seconds]
    for label, seconds in record["seconds_per_step"].items()
  }


def _make_table(records):
  rows = [("model", "batch", "step", "images/s", *interleaved.RATIO_COLUMNS)]
  for record in records:
    speeds = _speeds(record)
    for label, values in speeds.items():
      ratio = ("", "", "")
      if _PYTORCH in speeds and label != _PYTORCH:
        ratio = interleaved.compare(values, speeds[_PYTORCH]).cells()
      rows.append(
        (
          record["model"],
          str(record["batch_size"]),
          label,
          f"{statistics.median(values):.1f}",
          *ratio,
        )
      )
  return (
    f"{results.make_table(rows)}\nMedians; ratio of the images per second to "
    f"{_PYTORCH}'s, round by round; goal: {_GOAL} at least. {_ROUNDS.value} "
    f"rounds of {_STEPS.value} steps each. "
    f"{interleaved.describe_disturbance(records, _ROUNDS.value)}\n"
  )


def _draw(records, path):
  figure, axes = plt.subplots(
    1,
    len(records),
    figsize=(4.2 * len(records), 2.6),
    dpi=120,
    squeeze=False,
    layout="constrained",
  )
  for axis, record in zip(axes.flat, records):
    for label, values in _speeds(record).items():
      color = "C7" if label == _PYTORCH else "C0"
      axis.barh(label, statistics.median(values), color=color, alpha=0.6)
      axis.plot(values, [label] * len(values), "o", color=color, markersize=3)
    axis.invert_yaxis()
    axis.set_title(
      f"{record['model']}, batch {record['batch_size']}", fontsize=10
    )
    axis.set_xlabel("images per second (dots: rounds)")
    axis.spines[["top", "right"]].set_visible(False)
  figure.savefig(path)
  plt.close(figure)


def main(arguments: list[str]) -> None:
  """Measures, prints and draws."""
  if len(arguments) > 1:
    raise app.UsageError(f"Unknown arguments: {arguments[1:]}")
  run = results.describe_run(
    "benchmarks.train_step", ["lookahead-tf", "tensorflow", "keras"]
  )
  try:
    records = [_time_case(name, run) for name in _MODELS.value]
  except peers.NotMeasured as error:
    sys.exit(f"Error: {_PYTORCH} cannot be measured: {error}")
  results.write(_WORKDIR.value, run, _make_table(records), {"time": records})
  picture = os.path.join(_WORKDIR.value, "speed.png")
  _draw(records, picture)
  print(f"Picture: {picture}")


if __name__ == "__main__":
  flags.mark_flags_as_required(["workdir"])
  app.run(main)
