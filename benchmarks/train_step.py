"""How fast is a trainer's step beside PyTorch's on the same cores?

Times whole training steps (forward, backward, SGD with momentum and weight
decay) of the wide CIFAR ResNet-18 and of ResNet-50: ours are those that the
image trainer runs, bare and with Lookahead, as a graph and by XLA; PyTorch's is
that of the same model, in a process of its own with as many threads. They take
turns. Batches stay in memory. Writes table.md, results.json and speed.png.

python -m benchmarks.train_step --workdir=runs/train_step \
    --peers_python=peers/bin/python  # See requirements-peers.txt.
"""

import dataclasses
import functools

import ml_collections
import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks import results, speed, training_speed
from configs import cifar, imagenet
from trainers import optimizers, schedules
from trainers.image_classification import model as image_model
from trainers.image_classification import training_step

_WORKDIR = flags.DEFINE_string("workdir", None, "Where to write the results.")
_ROUNDS = flags.DEFINE_integer("rounds", 10, "Of each.", lower_bound=1)
_MODELS = flags.DEFINE_multi_enum(
  "models", ["resnet18", "resnet50"], ["resnet18", "resnet50"], "Models."
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
    "resnet18": ("wide ResNet-18, 32x32", cifar, 10, 64),
    "resnet50": ("ResNet-50, 224x224", imagenet, 1000, 8),
  }[name]
  config = config.get_config("sgd")
  config.global_batch_size = _BATCH_SIZE.value or batch_size
  return Case(title, config, classes, config.global_batch_size)


def _make_train_step(case, config, strategy):
  size = config.data.image_size
  with strategy.scope():
    model = image_model.make_model(
      config.model, image_shape=(size, size, 3), num_classes=case.classes
    )
    optimizer = optimizers.make_optimizer(
      config, schedules.make_schedule(config.learning_rate, 1000, 100_000)
    )
    optimizer.build(model.trainable_variables)
  return training_step.make_train_step(model, optimizer, config, strategy)


def _make_batch(case):
  random = np.random.default_rng(0)
  size = case.config.data.image_size
  images = random.random((case.batch_size, size, size, 3), "float32")
  labels = random.integers(case.classes, size=case.batch_size, dtype="int32")
  return tf.constant(images), tf.constant(labels)


def _time_case(name, run):
  """Returns a record for results.json."""
  case = _case(name)
  measured = training_speed.measure(
    case.title,
    case.config,
    functools.partial(_make_train_step, case),
    _make_batch(case),
    "torch_training",
    {"model": name, "batch_size": case.batch_size},
    rounds=_ROUNDS.value,
    versions=run["versions"],
  )
  return {
    "model": case.title,
    "batch": str(case.batch_size),
    "per_step": case.batch_size,
    **measured,
  }


def main(arguments: list[str]) -> None:
  """Measures, prints and draws."""
  if len(arguments) > 1:
    raise app.UsageError(f"Unknown arguments: {arguments[1:]}")
  run = results.describe_run(
    "benchmarks.train_step", ["lookahead-tf", "tensorflow", "keras"]
  )
  records = []
  for name in _MODELS.value:
    records.append(_time_case(name, run))
    # After each case, so that none is lost by what becomes of the next.
    text = speed.write(
      _WORKDIR.value,
      run,
      records,
      "images",
      training_speed.PYTORCH,
      goal=_GOAL,
      rounds=_ROUNDS.value,
    )
  print(f"\n{text}\nWritten to {_WORKDIR.value}")


if __name__ == "__main__":
  flags.mark_flags_as_required(["workdir"])
  app.run(main)
