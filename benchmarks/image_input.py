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
import dataclasses
import functools
import io
import math
import os
import pathlib
import statistics
import tempfile
import time

import matplotlib
import numpy as np
import tensorflow as tf
import tqdm
from absl import flags
from PIL import Image
from sklearn import datasets

from benchmarks.harness import chart, interleaving
from benchmarks.harness.report import PATIENCE, ROUNDS, Report, run
from benchmarks.peers import client
from configs import imagenet
from experiments.results import make_table
from trainers import hardware
from trainers.image_classification import (
  experiment,
  image_folder,
  pipelines,
  pixels,
)
from trainers.image_classification import step as step_lib

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

# Of photos that are made.
_SHAPES = ((375, 500), (500, 375), (333, 500))  # Height and width.
_SHARES = (0.6, 0.25, 0.15)
_BYTES = 110_000


def _datasets(folder):
  """Returns what is timed of ours, by name.

  All data sets shuffle the files and read each in full. None works ahead beyond
  its last batch: what nobody waits for would take cores from what is timed
  next.
  """
  root, name = os.path.split(os.path.abspath(folder))
  split = image_folder.load(root, name, name).train
  config = imagenet.get_config("resnet50,sgd")
  batching = experiment.read_batching(config)
  pipeline = pipelines.LargeImages(
    split,
    dataclasses.replace(batching, global_batch_size=_BATCH_SIZE.value),
    tf.distribute.InputContext(),
  )
  ours = pipeline.batches(first_step=0).take(_STEPS.value)
  floats = _normalized(ours, experiment.read_objective(config))
  return {
    _OURS: ours,
    _OURS_AS_FLOATS: floats.prefetch(1),
    _CROPS: _crops_alone(split, batching.cut),
    _WHOLE: _whole_images_alone(split),
  }


def _normalized(batches, objective):
  """Returns batches whose images are floats, normalized on the host."""
  return batches.map(
    lambda images, labels: (step_lib.normalize(images, objective), labels),
    num_parallel_calls=tf.data.AUTOTUNE,
  )


def _crops_alone(split, cut):
  """Returns batches of one pixel of each random crop, which is decoded."""

  def decode(number, record):
    seed = tf.stack([tf.constant(0, tf.int64), number])
    uniform = tf.random.stateless_uniform((pixels.RANDOM_NUMBERS,), seed)

    def choose(size):
      return pixels.random_window(
        size, uniform, cut.crop_area, cut.crop_aspect_ratio
      )

    image = split.load(*record).image
    window = choose(tf.io.extract_jpeg_shape(image)[:2])
    return tf.image.decode_and_crop_jpeg(image, window, channels=3)[0, 0]

  return _decoded(split, decode)


def _whole_images_alone(split):
  """Returns batches of one pixel of each image, which is decoded whole."""

  def decode(number, record):
    image = split.load(*record).image
    return pixels.decode(image, split.channels)[0, 0]

  return _decoded(split, decode)


def _decoded(split, decode):
  records = split.records(0, 1, tf.constant(0, tf.int64), 1).repeat()
  return (
    records.enumerate()
    .map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    .batch(_BATCH_SIZE.value)
    .take(_STEPS.value)
    .prefetch(tf.data.AUTOTUNE)
  )


def _time(dataset):
  """Returns the seconds of an image in a round, from start to last batch.

  So nothing is made before its time counts. What goes on after the last batch
  does not count: an iterator with AUTOTUNE may wait for its autotuner before it
  ends.
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
      image_size=imagenet.get_config("resnet50,sgd").data.image_size,
      batch_size=_BATCH_SIZE.value,
      threads=hardware.count_cores(),
    )
    if peer:
      units[_TORCHVISION] = lambda: (
        peer.run("bare", _STEPS.value) / _BATCH_SIZE.value
      )
    for unit in units.values():
      unit()  # Traces, and brings the files into memory.
    measurement = interleaving.measure(
      {"input": units}, ROUNDS.value, "rounds", PATIENCE.value
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
      core_seconds = statistics.median(seconds[name]) * hardware.count_cores()
      line = f"- {name}: {1 / core_seconds:,.0f} images/s of one core"
      if _ACCELERATOR.value:
        needed = math.ceil(_ACCELERATOR.value * core_seconds)
        line += (
          f"; {needed} such cores, doing nothing else, make "
          f"{_ACCELERATOR.value:,.0f} images/s"
        )
      lines.append(f"{line}\n")
  return "".join(lines)


def write_photos(folder: str, number: int, classes: int = 10) -> float:
  """Writes CLASS/NUMBER.jpg of ImageNet's size; returns the mean size in bytes.

  The photos are windows of scikit-learn's two and of matplotlib's, enlarged by
  up to 1.25 into the sizes that are most frequent in ImageNet. They have the
  JPEG quality at which a file has 110 kB on average, as there.

  Args:
    folder: Made if needed.
    number: How many images.
    classes: How many class folders.
  """
  photos = _photos()
  quality = _quality([_window(photos, i) for i in range(min(number, 60))])
  sizes = []
  for i in tqdm.trange(number, desc=f"Writing JPEGs, quality {quality}"):
    path = os.path.join(folder, f"{i % classes:03}", f"{i:05}.jpg")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    data = _encode(_window(photos, i), quality)
    with open(path, "wb") as file:
      file.write(data)
    sizes.append(len(data))
  return float(np.mean(sizes))


def _photos():
  portrait = os.path.join(
    matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg"
  )
  photos = [Image.fromarray(i) for i in datasets.load_sample_images().images]
  return [*photos, Image.open(portrait).convert("RGB")]


def _window(photos, number):
  """Returns a picture that the number decides."""
  random = np.random.default_rng(number)
  photo = photos[random.integers(len(photos))]
  height, width = _SHAPES[random.choice(len(_SHAPES), p=_SHARES)]
  scale = random.uniform(
    0.6, min(1, photo.width / width, photo.height / height)
  )
  box = int(width * scale), int(height * scale)
  left = random.integers(photo.width - box[0] + 1)
  top = random.integers(photo.height - box[1] + 1)
  window = photo.crop((left, top, left + box[0], top + box[1]))
  image = window.resize((width, height), Image.BICUBIC)
  is_mirrored = random.random() < 0.5
  return image.transpose(Image.FLIP_LEFT_RIGHT) if is_mirrored else image


def _quality(images):
  """Returns the quality at which the mean size comes next to _BYTES."""

  def distance(quality):
    return abs(np.mean([len(_encode(i, quality)) for i in images]) - _BYTES)

  return min(tqdm.trange(90, 100, desc="Finding the quality"), key=distance)


def _encode(image, quality):
  file = io.BytesIO()
  image.save(file, "JPEG", quality=int(quality))
  return file.getvalue()


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
      write_photos(folder, _NUMBER.value)
    record = _measure(folder, report)
    files = _describe_files(folder)
  seconds = record["seconds_per_image"]
  rows = interleaving.compare_speeds(seconds, "images", [_CROPS, _TORCHVISION])
  rounds = ROUNDS.value
  report.write(
    f"{make_table(rows)}\n\n{_describe_cores(seconds)}\n"
    f"On {hardware.count_cores()} cores together. {files} {rounds} rounds of "
    f"{_STEPS.value} batches of {_BATCH_SIZE.value}. "
    f"{interleaving.describe_disturbance([record], rounds)}\n"
    + client.describe_not_measured([record]),
    record,
  )
  others = [_CROPS, _WHOLE, _TORCHVISION]
  chart.draw_speeds({"images": seconds}, report.path(".png"), others)
  report.show()


if __name__ == "__main__":
  run(main)
