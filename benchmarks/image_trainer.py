"""What the benchmarks use of the image trainer: models, steps, loop and input.

No other file of benchmarks/ imports `trainers.image_classification` or one of
its configs.
"""

import dataclasses
import functools
import os
import time
from collections.abc import Callable

import keras
import ml_collections
import numpy as np
import tensorflow as tf

from configs import cifar, imagenet, lookahead
from trainers import loop, metrics
from trainers.image_classification import (
  experiment,
  image_folder,
  pipelines,
  pixels,
  sources,
  train,
)
from trainers.image_classification import step as step_lib
from trainers.image_classification.splits import Split


def _speedrun():
  config = cifar.get_config("speedrun,sgd")
  config.data.name = "cifar10"  # Whose classes are known without the data.
  config.data.validation_fraction = None
  return config


# Experiments without Lookahead.
_CONFIGS = {
  "resnet18": lambda: cifar.get_config("cifar10,sgd"),
  "speedrun": _speedrun,
  "resnet50": lambda: imagenet.get_config("resnet50,sgd"),
}


def make_step(
  name: str,
  batch_size: int,
  uses_xla: bool,
  sync_period: int | None,
  *,
  image_size: int | None = None,
  channels: int | None = None,
) -> Callable[[], tf.Tensor]:
  """Returns a function that trains on one batch, always the same.

  The function returns the loss. The step is the trainer's: forward, backward,
  weight decay, SGD with momentum.

  Args:
    name: "resnet18", in the wide form for CIFAR, "resnet50" or "speedrun".
    batch_size: Images in a step.
    uses_xla: Whether XLA compiles the step. Else it is what the trainer does by
      default.
    sync_period: Lookahead's, or None for the inner optimizer alone.
    image_size: Height and width in pixels, or None for the experiment's.
    channels: Channels of the first stage, or None for the experiment's.
  """
  config = _CONFIGS[name]()
  config.global_batch_size = batch_size
  # None is the trainer's default: on a CPU a graph, parts of it by XLA.
  config.jit_compile = uses_xla or None
  config.data.image_size = image_size or config.data.image_size
  config.model.width = channels or config.model.width
  if sync_period is not None:
    lookahead.add_to(config, sync_period=sync_period, slow_step_size=0.5)
  source = sources.made_up(config.data.name)
  strategy = tf.distribute.OneDeviceStrategy("CPU:0")
  unpacked = experiment.unpack(config, source, strategy)
  step, (images, labels) = train.make_step(unpacked, strategy)
  random = np.random.default_rng(0)
  classes = len(source.class_names)
  batch = (
    tf.constant(random.random(images.shape, "float32")),
    tf.constant(random.integers(classes, size=labels.shape, dtype="int32")),
  )
  return lambda: step(batch)["loss"]


def training_ways(
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
  batches = normalized(batches, unpacked.objective)
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


# The input of ImageNet. All data sets shuffle the files and read each in full.
# None works ahead beyond its last batch: what nobody waits for would take cores
# from what is timed next.


def imagenet_input() -> tuple[pipelines.Batching, step_lib.Objective]:
  """Returns how ImageNet's images become batches, and are normalized."""
  config = _CONFIGS["resnet50"]()
  return experiment.read_batching(config), experiment.read_objective(config)


def load_images(folder: str) -> Split:
  """Returns the images of a folder of class folders.

  Raises:
    UserError: if there are none.
  """
  root, name = os.path.split(os.path.abspath(folder))
  return image_folder.load(root, name, name).train


def training_input(
  split: Split, batch_size: int, steps: int
) -> tf.data.Dataset:
  """Returns the batches of so many training steps on ImageNet."""
  batching, _ = imagenet_input()
  pipeline = pipelines.LargeImages(
    split,
    dataclasses.replace(batching, global_batch_size=batch_size),
    tf.distribute.InputContext(),
  )
  return pipeline.batches(first_step=0).take(steps)


def normalized(
  batches: tf.data.Dataset, objective: step_lib.Objective
) -> tf.data.Dataset:
  """Returns batches whose images are floats, normalized on the host.

  Args:
    batches: Batches of images and labels, as the input pipeline makes them.
    objective: How images are normalized.
  """
  return batches.map(
    lambda images, labels: (step_lib.normalize(images, objective), labels),
    num_parallel_calls=tf.data.AUTOTUNE,
  )


def crops_alone(split: Split, batch_size: int, steps: int) -> tf.data.Dataset:
  """Returns batches of one pixel of each random crop, which is decoded."""
  cut = imagenet_input()[0].cut

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

  return _decoded(split, decode, batch_size, steps)


def whole_images_alone(
  split: Split, batch_size: int, steps: int
) -> tf.data.Dataset:
  """Returns batches of one pixel of each image, which is decoded whole."""

  def decode(number, record):
    image = split.load(*record).image
    return pixels.decode(image, split.channels)[0, 0]

  return _decoded(split, decode, batch_size, steps)


def _decoded(split, decode, batch_size, steps):
  records = split.records(0, 1, tf.constant(0, tf.int64), 1).repeat()
  return (
    records.enumerate()
    .map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    .batch(batch_size)
    .take(steps)
    .prefetch(tf.data.AUTOTUNE)
  )
