"""What `slow_network` compares: ways of training, their commands, the table."""

import dataclasses
import json
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import network

WORKERS = 2
ALONE = "no network, one worker alone"
APART = "no network, two workers apart"
SYNCHRONOUS = "synchronous"

_PORT = 12345
_CLASSES = 10
_IMAGES = {"train": 64, "validation": 2}  # Of a class.
_FOREVER = 1e6  # Epochs.


@dataclasses.dataclass(frozen=True)
class Way:
  """A way of training.

  Attributes:
    name: For people.
    sync_period: Lookahead's k of local steps; None without Lookahead.
    workers: How many processes train.
    is_connected: Whether they train one model together. Else each trains a
      model of its own, in a run of its own.
  """

  name: str
  sync_period: int | None = None
  workers: int = WORKERS
  is_connected: bool = True

  @property
  def runs(self) -> int:
    """How many models are trained at the same time."""
    return 1 if self.is_connected else self.workers


def make_ways(periods: Sequence[int]) -> list[Way]:
  """Returns what is compared, with local steps of these periods."""
  return [
    Way(ALONE, workers=1, is_connected=False),
    Way(APART, is_connected=False),
    Way(SYNCHRONOUS),
    *(Way(f"local steps, k = {period}", period) for period in periods),
  ]


def trainer_arguments(
  way: Way,
  data_dir: str,
  workdir: str,
  batch_size: int,
  width: int,
  steps_per_loop: int,
) -> list[str]:
  """Returns the command line of the image trainer, for a run without an end.

  Args:
    way: How to train.
    data_dir: The folder of `write_images`.
    workdir: Directory of the run.
    batch_size: Images of a worker in a step.
    width: Channels of the first stage.
    steps_per_loop: Steps between two lines of metrics.
  """
  words = "sgd" if way.sync_period is None else "lookahead"
  strategy = "multi_worker" if way.is_connected else "one_device"
  fields = {
    "data.name": "image_folder",
    "data.validation_split": "validation",
    "global_batch_size": way.workers // way.runs * batch_size,
    "num_epochs": _FOREVER,
    "eval_every_epochs": _FOREVER,
    "checkpoint_every_epochs": _FOREVER,
    "steps_per_loop": steps_per_loop,
    "model.width": width,
    # Statistics of the global batch would need the network in each layer.
    "model.synchronized_batch_norm": False,
    "learning_rate.peak": 1e-3,  # Noise is no reason to diverge then.
  }
  if way.sync_period is not None:
    fields["lookahead.sync_period"] = way.sync_period
    fields["lookahead.local_steps"] = True
  return [
    f"--config=configs/cifar.py:{words}",
    f"--strategy={strategy}",
    f"--data_dir={data_dir}",
    f"--workdir={workdir}",
    *(f"--config.{name}={value}" for name, value in fields.items()),
  ]


def tf_config(addresses: Sequence[str], index: int) -> str:
  """Returns TF_CONFIG of one of the workers at these addresses."""
  workers = [f"{address}:{_PORT}" for address in addresses]
  task = {"type": "worker", "index": index}
  return json.dumps({"cluster": {"worker": workers}, "task": task})


def write_images(folder: str) -> None:
  """Writes SPLIT/CLASS/NUMBER.png, of the size of CIFAR's images and of noise.

  Args:
    folder: Made by this function.
  """
  random = np.random.default_rng(0)
  for split, number in _IMAGES.items():
    for label in range(_CLASSES):
      path = pathlib.Path(folder, split, str(label))
      path.mkdir(parents=True)
      for i in range(number):
        pixels = random.integers(0, 256, (32, 32, 3), dtype="uint8")
        Image.fromarray(pixels).save(path / f"{i}.png")


def make_rows(records: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
  """Returns the rows of the table, its head first.

  Args:
    records: Those of slow_network.json, of which each has the `way` by its
      name, the `rate` of the link or None, and `windows`. A window has its
      `steps`, `seconds_per_image`, and `bytes_per_step` that a worker sends.
  """
  speeds = {
    (record["rate"], record["way"]): 1 / _median(record, "seconds_per_image")
    for record in records
  }
  without = speeds.get((None, APART))
  # Rates in the order in which they were measured.
  rates = list(dict.fromkeys(record["rate"] for record in records))
  rows = [
    (
      *("link", "training", "images/s", "times synchronous"),
      *("of no network", "MB sent a step", "steps measured"),
    )
  ]
  for record in sorted(records, key=lambda r: rates.index(r["rate"])):
    rate, way = record["rate"], record["way"]
    speed = speeds[rate, way]
    synchronous = speeds.get((rate, SYNCHRONOUS))
    megabytes = _median(record, "bytes_per_step") / 1e6
    rows.append(
      (
        network.describe_rate(rate) if rate else "none",
        way,
        f"{speed:.1f}",
        f"{speed / synchronous:.2f}" if synchronous else "",
        f"{speed / without:.2f}" if without else "",
        f"{megabytes:.2f}" if rate else "",
        f"{sum(window['steps'] for window in record['windows']):,}",
      )
    )
  return rows


def _median(record, name):
  return statistics.median(window[name] for window in record["windows"])
