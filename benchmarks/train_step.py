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
import sys

import keras
import ml_collections
import numpy as np
import tensorflow as tf
import tqdm
from absl import app, flags

from benchmarks import peers, results, training_speed
from configs import (
  cifar10_resnet18_sgd,
  imagenet_resnet50_sgd,
  lookahead,
)
from trainers import optimizers, schedules
from trainers.image_classification import model as image_model
from trainers.image_classification import training_step

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
_VARIANTS = flags.DEFINE_multi_enum(
  "variants",
  list(training_speed.VARIANTS),
  list(training_speed.VARIANTS),
  "Of ours.",
)
_BATCH_SIZE = flags.DEFINE_integer(
  "batch_size", None, "Of all models, if not their own.", lower_bound=1
)

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
  return training_speed.make_unit(train_step, batch, _STEPS.value)


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
          threads=training_speed.threads(),
        )
      )
      run["versions"] |= peer.versions
      units[training_speed.PYTORCH] = functools.partial(peer.run, "bare")
    for variant in tqdm.tqdm(_VARIANTS.value, f"{case.title}: compile"):
      label, *options = training_speed.VARIANTS[variant]
      units[label] = _make_unit(case, *options)
    measured = training_speed.measure(
      case.title,
      units,
      steps=_STEPS.value,
      rounds=_ROUNDS.value,
      patience=_PATIENCE.value,
    )
  return {
    "model": case.title,
    "batch": str(case.batch_size),
    "per_step": case.batch_size,
    **measured,
  }


def _make_table(records):
  return training_speed.make_table(
    records, "images", goal=_GOAL, steps=_STEPS.value, rounds=_ROUNDS.value
  )


def main(arguments: list[str]) -> None:
  """Measures, prints and draws."""
  if len(arguments) > 1:
    raise app.UsageError(f"Unknown arguments: {arguments[1:]}")
  run = results.describe_run(
    "benchmarks.train_step", ["lookahead-tf", "tensorflow", "keras"]
  )
  records = []
  for name in _MODELS.value:
    try:
      records.append(_time_case(name, run))
    except peers.NotMeasured as error:
      sys.exit(f"Error: {training_speed.PYTORCH} cannot be measured: {error}")
    # After each case, so that none is lost by what becomes of the next.
    text = results.write(
      _WORKDIR.value, run, _make_table(records), {"time": records}
    )
    training_speed.draw(
      records, "images", os.path.join(_WORKDIR.value, "speed.png")
    )
  print(f"\n{text}\nWritten to {_WORKDIR.value}")


if __name__ == "__main__":
  flags.mark_flags_as_required(["workdir"])
  app.run(main)
