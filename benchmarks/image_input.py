"""How fast are ImageNet's photos made into batches, and what is the limit?

Times the training input (`data.pipeline="large_images"`) on JPEGs of ImageNet's
size in turn with torchvision's DataLoader on the same files, with the decoding
of whole images, and with the decoding of the random crops alone, which is the
limit: that much has to be decoded. Says how many images a core makes a second,
and how many cores feed an accelerator. Writes table.md, results.json and
speed.png.

python -m benchmarks.image_input --workdir=runs/image_input \
    --torchvision_python=torchvision/bin/python  # See requirements-peers.txt.
"""

import contextlib
import functools
import math
import os
import pathlib
import statistics
import time

import matplotlib
from absl import app, flags

from benchmarks import (
  image_datasets,
  interleaved,
  peers,
  photo_folder,
  results,
)
from configs import imagenet

matplotlib.use("Agg")  # There may be no screen.
from matplotlib import pyplot as plt

_WORKDIR = flags.DEFINE_string("workdir", None, "Where to write everything.")
_IMAGES = flags.DEFINE_string(
  "images", None, "A folder of class folders of JPEGs; made if not given."
)
_NUMBER = flags.DEFINE_integer(
  "number_of_images", 500, "How many to make.", lower_bound=1
)
_BATCH_SIZE = flags.DEFINE_integer(
  "batch_size", 64, "Images in a batch.", lower_bound=1
)
_STEPS = flags.DEFINE_integer(
  "steps", 32, "Batches of each in a round.", lower_bound=1
)
_ROUNDS = flags.DEFINE_integer("rounds", 12, "Of each.", lower_bound=1)
_PATIENCE = flags.DEFINE_float(
  "patience", 300.0, "Seconds that may be waited for a quiet machine."
)
_TORCHVISION_PYTHON = flags.DEFINE_string(
  "torchvision_python", None, "Interpreter with torchvision; none without."
)
_ACCELERATOR = flags.DEFINE_float(
  "accelerator_images_per_second",
  None,
  "What is to be fed: such as the bound that --tpu_compile_only prints.",
  lower_bound=1,
)

_OURS = "large_images"
_OURS_AS_FLOATS = "large_images, normalized on the host"
_CROPS = "decoding of the crops alone"
_WHOLE = "decoding of whole images alone"
_TORCHVISION = "torchvision"
_INPUTS = (_OURS, _OURS_AS_FLOATS, _TORCHVISION)


def _datasets(folder):
  """Returns what is timed of ours, by name."""
  split = image_datasets.load(folder)
  config = imagenet.get_config().data
  counts = _BATCH_SIZE.value, _STEPS.value
  ours = image_datasets.training(split, config, *counts)
  return {
    _OURS: ours,
    _OURS_AS_FLOATS: image_datasets.normalized(ours, config),
    _CROPS: image_datasets.crops_alone(split, *counts),
    _WHOLE: image_datasets.whole_images_alone(split, *counts),
  }


def _time(dataset):
  """Returns the seconds of an image in a round, from start to last batch.

  So nothing is made before its time counts. What goes on after it does not
  count: an iterator waits for up to seconds for its autotuner before it ends.
  """
  started = time.perf_counter()
  for _ in dataset:
    ended = time.perf_counter()
  return (ended - started) / (_STEPS.value * _BATCH_SIZE.value)


def _start_torchvision(folder):
  return peers.Peer(
    _TORCHVISION_PYTHON.value,
    "torchvision_input",
    warmup_steps=_STEPS.value,
    folder=folder,
    image_size=imagenet.get_config().data.image_size,
    batch_size=_BATCH_SIZE.value,
    workers=results.cores(),
  )


def _measure(folder):
  """Returns (seconds by name, a note, versions of the peer)."""
  units = {
    name: functools.partial(_time, dataset)
    for name, dataset in _datasets(folder).items()
  }
  note, versions = "", {}
  with contextlib.ExitStack() as stack:
    if _TORCHVISION_PYTHON.value:
      try:
        peer = stack.enter_context(_start_torchvision(folder))
        versions = peer.versions
        units[_TORCHVISION] = lambda: (
          peer.run("bare", _STEPS.value) / _BATCH_SIZE.value
        )
      except peers.NotMeasured as error:
        note = f"\n{_TORCHVISION}: not measured: {error}\n"
    for unit in units.values():
      unit()  # Traces, and brings the files into memory.
    measurement = interleaved.measure(
      {"input": units}, _ROUNDS.value, "rounds", _PATIENCE.value
    )
  disturbance = interleaved.describe_disturbance(
    [{"disturbed_rounds": measurement.disturbed}], _ROUNDS.value
  )
  note = (
    f"\n{_ROUNDS.value} rounds of {_STEPS.value} batches of "
    f"{_BATCH_SIZE.value}. {disturbance}\n{note}"
  )
  return measurement.seconds["input"], note, versions


def _table(seconds):
  ratios = [name for name in (_CROPS, _TORCHVISION) if name in seconds]
  head = ["", "images/s", "of one core"]
  for other in ratios:
    head += [f"times {other}", "95 % interval"]
  rows = [tuple(head)]
  for name, values in seconds.items():
    speed = 1 / statistics.median(values)
    row = [name, f"{speed:,.0f}", f"{speed / results.cores():,.0f}"]
    for other in ratios:
      ratio = interleaved.compare(seconds[other], values)
      row += [f"{ratio.median:.3f}", f"{ratio.low:.3f} to {ratio.high:.3f}"]
    rows.append(tuple(row))
  return results.make_table(rows)


def _cores_to_feed(seconds):
  if not _ACCELERATOR.value:
    return ""
  needed = {
    name: _ACCELERATOR.value
    * statistics.median(seconds[name])
    * results.cores()
    for name in _INPUTS
    if name in seconds
  }
  lines = [f"- {name}: {math.ceil(cores)}\n" for name, cores in needed.items()]
  return (
    f"\nCores of this kind that make {_ACCELERATOR.value:,.0f} images a "
    f"second, all of them doing nothing else:\n\n{''.join(lines)}"
  )


def _draw(seconds, path):
  figure, axis = plt.subplots(figsize=(7, 2.8), dpi=120)
  for i, (name, values) in enumerate(seconds.items()):
    speeds = [1 / value for value in values]
    axis.barh(name, statistics.median(speeds), color=f"C{i}", alpha=0.5)
    axis.plot(speeds, [name] * len(speeds), "o", color=f"C{i}", markersize=3)
  axis.invert_yaxis()
  axis.set_xlabel("images per second (dots: rounds)")
  axis.spines[["top", "right"]].set_visible(False)
  figure.tight_layout()
  figure.savefig(path)
  plt.close(figure)


def main(arguments: list[str]) -> None:
  """Measures, prints and draws."""
  if len(arguments) > 1:
    raise app.UsageError(f"Unknown arguments: {arguments[1:]}")
  folder = _IMAGES.value or os.path.join(_WORKDIR.value, "images")
  if not _IMAGES.value:
    photo_folder.write(folder, _NUMBER.value)
  files = [*pathlib.Path(folder).glob("*/*")]
  sizes = [os.path.getsize(file) for file in files]
  run = results.describe_run("benchmarks.image_input", ["tensorflow"])
  seconds, note, versions = _measure(folder)
  run["versions"] |= versions
  text = (
    _table(seconds)
    + f"\n{len(files)} files of {statistics.mean(sizes) / 1000:.0f} kB on "
    "average, in the cache of the file system." + note + _cores_to_feed(seconds)
  )
  text = results.write(
    _WORKDIR.value, run, text, {"seconds_per_image": seconds}
  )
  _draw(seconds, os.path.join(_WORKDIR.value, "speed.png"))
  print(f"\n{text}\nWritten to {_WORKDIR.value}")


if __name__ == "__main__":
  flags.mark_flags_as_required(["workdir"])
  app.run(main)
