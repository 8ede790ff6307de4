"""What the benchmarks use of the image trainer: models, steps, loop and input.

No other file of benchmarks/ imports `trainers.image_classification` or one of
its configs.
"""

import functools
import os
import time
from collections.abc import Callable
from typing import Any

import keras
import ml_collections
import numpy as np
import tensorflow as tf

from configs import cifar10_resnet18_sgd, imagenet_resnet50_sgd, lookahead
from trainers import loop, metrics, optimizers, schedules
from trainers.image_classification import (
  crops,
  decoding,
  image_folder,
  input_pipeline,
  large_images,
  sources,
  train,
  training_step,
)
from trainers.image_classification import model as image_model
from trainers.image_classification.splits import EncodedSplit

# Experiments without Lookahead, and their numbers of classes.
_EXPERIMENTS = {
  "resnet18": (cifar10_resnet18_sgd, 10),
  "resnet50": (imagenet_resnet50_sgd, 1000),
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
    name: "resnet18", in the wide form for CIFAR, or "resnet50".
    batch_size: Images in a step.
    uses_xla: Whether XLA compiles the step.
    sync_period: Lookahead's, or None for the inner optimizer alone.
    image_size: Height and width in pixels, or None for the experiment's.
    channels: Channels of the first stage, or None for the experiment's.
  """
  module, classes = _EXPERIMENTS[name]
  config = module.get_config()
  config.global_batch_size = batch_size
  config.jit_compile = uses_xla
  config.data.image_size = image_size or config.data.image_size
  config.model.width = channels or config.model.width
  if sync_period is not None:
    lookahead.add_to(config, sync_period=sync_period, slow_step_size=0.5)
  shape = (config.data.image_size, config.data.image_size, 3)
  strategy = tf.distribute.OneDeviceStrategy("CPU:0")
  with strategy.scope():
    model = image_model.make_model(
      config.model, image_shape=shape, num_classes=classes
    )
    optimizer = optimizers.make_optimizer(
      config, schedules.make_schedule(config.learning_rate, 1000, 100_000)
    )
    optimizer.build(model.trainable_variables)
  step = training_step.make_train_step(model, optimizer, config, strategy)
  random = np.random.default_rng(0)
  batch = (
    tf.constant(random.random((batch_size, *shape), "float32")),
    tf.constant(random.integers(classes, size=batch_size, dtype="int32")),
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
  writes their figures.

  Args:
    config: An experiment, changed in place: the loss of `fit` has neither a
      penalty nor label smoothing.
    data_dir: Where the data is, as for the trainer.
    steps: Steps that are timed.
    workdir: Folder for the figures.

  Raises:
    UserError: for what the user can put right.
  """
  with config.unlocked():
    config.l2_penalty = 0.0
    config.label_smoothing = 0.0
  source = sources.load(config.data, data_dir)
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
  """Returns a model, its optimizer and batches."""
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


class _Stopwatch(keras.callbacks.Callback):
  """Times the epochs of `fit`; `seconds` is the time of the last one."""

  def on_epoch_begin(self, epoch, logs=None):
    self.started = time.perf_counter()

  def on_epoch_end(self, epoch, logs=None):
    self.seconds = time.perf_counter() - self.started


def _fit(config, source, steps):
  strategy = tf.distribute.get_strategy()  # None: as most users of fit.
  model, optimizer, batches = _setup(config, source, strategy)
  batches = normalized(batches, config.data)
  model.compile(
    optimizer,
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
  model, optimizer, dataset = _setup(config, source, strategy)
  train_step = training_step.make_train_step(model, optimizer, config, strategy)
  step = tf.function(lambda batches: train_step(next(batches)))
  batches = iter(dataset)

  def make_steps():
    for _ in range(steps):
      figures = step(batches)
    float(figures["loss"])  # Waits for the last step.

  return functools.partial(_time_second_call, make_steps)


def _training_loop(config, source, steps, workdir):
  strategy = tf.distribute.OneDeviceStrategy("CPU:0")
  model, optimizer, dataset = _setup(config, source, strategy)
  train_step = training_step.make_train_step(model, optimizer, config, strategy)
  run_steps = loop.make_loop(train_step, ("loss", "accuracy"), strategy)
  batches = iter(
    strategy.distribute_datasets_from_function(lambda context: dataset)
  )
  writer = metrics.MetricsWriter(workdir)

  def make_steps():
    figures, _ = run_steps(batches, tf.constant(steps))
    writer.write(0, 0.0, {name: float(v) for name, v in figures.items()})

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


def imagenet_data() -> ml_collections.ConfigDict:
  """Returns the fields of a config that describe the input of ImageNet."""
  return imagenet_resnet50_sgd.get_config().data


def load_images(folder: str) -> EncodedSplit:
  """Returns the images of a folder of class folders.

  Raises:
    UserError: if there are none.
  """
  root, name = os.path.split(os.path.abspath(folder))
  return image_folder.load(root, name, name).train


def training_input(
  split: EncodedSplit, batch_size: int, steps: int
) -> tf.data.Dataset:
  """Returns the batches of so many training steps on ImageNet."""
  batches = large_images.train_batches(
    split,
    imagenet_data(),
    seed=0,
    global_batch_size=batch_size,
    first_step=0,
    context=tf.distribute.InputContext(),
  )
  return batches.take(steps).prefetch(tf.data.AUTOTUNE)


def normalized(batches: tf.data.Dataset, data: Any) -> tf.data.Dataset:
  """Returns batches whose images are floats, normalized on the host.

  Args:
    batches: Batches of images and labels, as the input pipeline makes them.
    data: The fields of a config that describe the input.
  """
  return batches.map(
    lambda images, labels: (input_pipeline.normalize(images, data), labels),
    num_parallel_calls=tf.data.AUTOTUNE,
  )


def crops_alone(
  split: EncodedSplit, batch_size: int, steps: int
) -> tf.data.Dataset:
  """Returns batches of one pixel of each random crop, which is decoded."""

  def decode(number, record):
    seed = tf.stack([tf.constant(0, tf.int64), number])
    uniform = tf.random.stateless_uniform((crops.RANDOM_NUMBERS,), seed)

    def choose(size):
      return crops.random_window(size, uniform, crops.AREA, crops.ASPECT_RATIO)

    image = split.load(*record).image
    window = choose(tf.io.extract_jpeg_shape(image)[:2])
    return tf.image.decode_and_crop_jpeg(image, window, channels=3)[0, 0]

  return _decoded(split, decode, batch_size, steps)


def whole_images_alone(
  split: EncodedSplit, batch_size: int, steps: int
) -> tf.data.Dataset:
  """Returns batches of one pixel of each image, which is decoded whole."""

  def decode(number, record):
    image = split.load(*record).image
    return decoding.decode(image, split.channels)[0, 0]

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
