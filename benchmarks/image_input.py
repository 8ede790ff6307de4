"""How fast are ImageNet's photos made into batches, and what is the limit?

Times the training input (`data.pipeline="large_images"`) on JPEGs of ImageNet's
size in turn with torchvision's DataLoader on the same files (--peers), with the
decoding of whole images, and with the decoding of the random crops alone, which
is the limit: that much has to be decoded. Says how many images a core makes a
second, and how many cores feed an accelerator. Writes image_input.md,
image_input.json and image_input.png to --results.

python -m benchmarks.image_input --peers
"""

import contextlib
import functools
import math
import os
import pathlib
import statistics
import tempfile
import time

from absl import flags

from benchmarks import image_trainer, photo_folder
from benchmarks.harness import chart, interleaving, program
from benchmarks.harness.report import Report, make_table
from benchmarks.peers import client
from experiments.results import count_cores

_IMAGES = flags.DEFINE_string(
  "images",
  None,
  "A folder of class folders of JPEGs. Without it --number_of_images are made.",
)
_NUMBER = flags.DEFINE_integer(
  "number_of_images", 500, "How many images to make.", lower_bound=1
)
_BATCH_SIZE = flags.DEFINE_integer(
  "batch_size", 64, "Images in a batch.", lower_bound=1
)
_STEPS = flags.DEFINE_integer(
  "steps", 32, "Batches of each in a round.", lower_bound=1
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
  split = image_trainer.load_images(folder)
  counts = _BATCH_SIZE.value, _STEPS.value
  ours = image_trainer.training_input(split, *counts)
  _, objective = image_trainer.imagenet_input()
  floats = image_trainer.normalized(ours, objective)
  return {
    _OURS: ours,
    _OURS_AS_FLOATS: floats.prefetch(1),
    _CROPS: image_trainer.crops_alone(split, *counts),
    _WHOLE: image_trainer.whole_images_alone(split, *counts),
  }


def _time(dataset):
  """Returns the seconds of an image in a round, from start to last batch.

  So nothing is made before its time counts. What goes on after the last batch
  does not count: an iterator waits for up to seconds for its autotuner before
  it ends.
  """
  started = time.perf_counter()
  for _ in dataset:
    ended = time.perf_counter()
  return (ended - started) / (_STEPS.value * _BATCH_SIZE.value)


def _measure(folder, report):
  """Returns a record for image_input.json."""
  units = {
    name: functools.partial(_time, dataset)
    for name, dataset in _datasets(folder).items()
  }
  with client.Peers(client.find_interpreter()) as peers:
    peer = peers.start(
      _TORCHVISION,
      "image_input",
      warmup_steps=_STEPS.value,
      folder=folder,
      image_size=image_trainer.imagenet_input()[0].cut.image_size,
      batch_size=_BATCH_SIZE.value,
      threads=count_cores(),
    )
    if peer:
      units[_TORCHVISION] = lambda: (
        peer.run("bare", _STEPS.value) / _BATCH_SIZE.value
      )
    for unit in units.values():
      unit()  # Traces, and brings the files into memory.
    measurement = interleaving.measure(
      {"input": units}, program.ROUNDS.value, "rounds", program.PATIENCE.value
    )
  report.versions |= peers.versions
  return {
    "seconds_per_image": measurement.seconds["input"],
    "disturbed_rounds": measurement.disturbed,
    "not_measured": peers.not_measured,
  }


def _describe_files(folder):
  files = [*pathlib.Path(folder).glob("*/*")]
  kilobytes = statistics.mean(os.path.getsize(file) for file in files) / 1000
  return (
    f"{len(files)} files of {kilobytes:.0f} kB on average, in the cache of the "
    "file system."
  )


def _describe_cores(seconds):
  """Returns how much a core makes, and how many cores feed an accelerator."""
  lines = []
  for name in _INPUTS:
    if name in seconds:
      core_seconds = statistics.median(seconds[name]) * count_cores()
      line = f"- {name}: {1 / core_seconds:,.0f} images/s of one core"
      if _ACCELERATOR.value:
        needed = math.ceil(_ACCELERATOR.value * core_seconds)
        line += (
          f"; {needed} such cores, doing nothing else, make "
          f"{_ACCELERATOR.value:,.0f} images/s"
        )
      lines.append(f"{line}\n")
  return "".join(lines)


def main() -> None:
  """Measures, writes and prints."""
  report = Report(
    "image_input",
    "The input of ImageNet beside torchvision's",
    ["lookahead-tf", "tensorflow"],
  )
  with contextlib.ExitStack() as stack:
    folder = _IMAGES.value
    if folder is None:
      folder = stack.enter_context(tempfile.TemporaryDirectory())
      photo_folder.write(folder, _NUMBER.value)
    record = _measure(folder, report)
    files = _describe_files(folder)
  seconds = record["seconds_per_image"]
  rows = interleaving.compare_speeds(seconds, "images", [_CROPS, _TORCHVISION])
  rounds = program.ROUNDS.value
  report.write(
    f"{make_table(rows)}\n{_describe_cores(seconds)}\nOn {count_cores()} cores "
    f"together. {files} {rounds} rounds of {_STEPS.value} batches of "
    f"{_BATCH_SIZE.value}. "
    f"{interleaving.describe_disturbance([record], rounds)}\n"
    + client.describe_not_measured([record]),
    record,
  )
  others = [_CROPS, _WHOLE, _TORCHVISION]
  chart.draw_speeds({"images": seconds}, report.path(".png"), others)
  report.show()


if __name__ == "__main__":
  program.run(main)
