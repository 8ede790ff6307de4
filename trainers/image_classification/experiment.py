"""An image classification config, unpacked into plain values and checked."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import ml_collections
import tensorflow as tf

from trainers import devices, initialization, loop, optimizers
from trainers.errors import UserError
from trainers.experiment import (
  FRACTION,
  HELD_OUT,
  NOT_NEGATIVE,
  POSITIVE,
  SEED,
  check_jit_compile,
  check_learning_rate,
  check_optimizer,
  check_ranges,
  read_learning_rate,
  read_optimizer,
  smaller_batch,
)
from trainers.experiment import of_record as config_of_record
from trainers.image_classification import (
  sources,
  splits,
  test_time_augmentation,
)
from trainers.image_classification.model import (
  FEATURES,
  Architecture,
  make_model,
)
from trainers.image_classification.pipelines import (
  KINDS,
  Batching,
  ImagePipeline,
  MadeUpImages,
)
from trainers.image_classification.pixels import FILLS, Cut
from trainers.image_classification.speedrun import LEAST_IMAGE_SIZE
from trainers.image_classification.splits import Source, Split
from trainers.image_classification.step import Objective

_IMAGENET_WIDTH = 64  # The only one of an "imagenet_resnet".

# Fields, what they must be, and how that is told.
_RANGES = (
  SEED,
  ("num_epochs", *POSITIVE),
  ("global_batch_size", *POSITIVE),
  ("steps_per_loop", *POSITIVE),
  ("eval_every_epochs", *POSITIVE),
  ("checkpoint_every_epochs", *POSITIVE),
  ("keep_checkpoints", *POSITIVE),
  ("label_smoothing", *FRACTION),
  ("l2_penalty", *NOT_NEGATIVE),
  ("data.pipeline", lambda v: v in KINDS, f"one of {[*KINDS]}"),
  ("data.image_size", *POSITIVE),
  ("data.crop_padding", *NOT_NEGATIVE),
  ("data.shuffle_buffer", *POSITIVE),
  ("data.crop_fill", lambda v: v in FILLS, f"one of {[*FILLS]}"),
  HELD_OUT,
  ("data.split_seed", *NOT_NEGATIVE),
  ("data.std", lambda v: min(v) > 0, "positive"),
  ("model.name", lambda v: v in FEATURES, f"one of {[*FEATURES]}"),
  ("model.width", *POSITIVE),
  (
    "model.blocks_per_stage",
    lambda v: all(blocks > 0 for blocks in v),
    "positive for each stage",
  ),
  ("model.batch_norm_momentum", *FRACTION),
  ("model.batch_norm_bias_rate", *POSITIVE),
  ("model.logit_scale", *POSITIVE),
  ("model.whitening_images", lambda v: v is None or v > 0, "positive, or None"),
  (
    "model.whitening_bias_epochs",
    lambda v: v is None or v >= 0,
    "0 or more, or None",
  ),
  (
    "test_time_augmentation",
    lambda v: v in test_time_augmentation.KINDS,
    f"one of {[*test_time_augmentation.KINDS]}",
  ),
)
# Fields that came later, with the values that runs before them had.
_NEWER = {
  "data.crop_fill": "black",
  "data.alternating_flip": False,
  "model.batch_norm_momentum": 0.9,
  "model.batch_norm_bias_rate": 1.0,
  "model.logit_scale": 1.0,
  "model.whitening_images": None,
  "model.whitening_bias_epochs": None,
  "test_time_augmentation": "none",
}

# Fields of one kind of pipeline alone: that kind, and their value for the
# other.
_FIELDS_OF_A_KIND = {
  "antialias": ("large_images", None),
  "crop_padding": ("small_images", 0),
  "crop_fill": ("small_images", "black"),
  "alternating_flip": ("small_images", False),
  "cache": ("small_images", None),
  "crop_area": ("large_images", None),
  "crop_aspect_ratio": ("large_images", None),
  "eval_resize": ("large_images", None),
}


@dataclasses.dataclass(frozen=True)
class Experiment:
  """What a config describes, on a data set and with a strategy.

  Attributes:
    seed: Seed of the model and of what a step draws, in [0, 2**32 - 2].
    source: The data set.
    pipeline: The kind of pipeline for images that are read, a key of KINDS.
    batching: How examples become batches.
    make_pipeline: A function of a split and a `tf.distribute.InputContext`;
      returns the pipeline of that host.
    architecture: Of the model.
    optimizer: Not built.
    synchronize_statistics: Whether Lookahead takes moving statistics along.
    clipping: Of the gradients.
    objective: What is minimized.
    plan: What the loop does at which step.
    jit_compile: Whether XLA compiles one replica's step.
    whitening_images: Training images that the filters of the first layer are
      made from; None if the model has no such filters.
    records: All that decides the result of the run, JSON-like dictionaries.
  """

  seed: int
  source: Source
  pipeline: str
  batching: Batching
  make_pipeline: Callable[[Split, tf.distribute.InputContext], ImagePipeline]
  architecture: Architecture
  optimizer: keras.optimizers.Optimizer
  synchronize_statistics: bool
  clipping: optimizers.Clipping
  objective: Objective
  plan: loop.Plan
  jit_compile: bool
  whitening_images: int | None
  records: Mapping[str, Mapping[str, Any]]


def load(config: ml_collections.ConfigDict, run: devices.Runtime) -> Experiment:
  """Returns the experiment of a config, on the data that it names.

  Args:
    config: An experiment, as in configs/.
    run: Where the data is, and which devices to use.

  Raises:
    UserError: for a value that cannot be trained with, and for data that is not
      there or does not go with the config.
  """
  check(config, run.strategy)
  source = _load_source(config.data, run.data_dir, run.fake_data)
  experiment = unpack(config, source, run.strategy, run.profile_steps)
  records = initialization.record(experiment.records, run)
  return dataclasses.replace(experiment, records=records)


def source_to_compile(
  config: ml_collections.ConfigDict,
  data_dir: str | None = None,
  fake_data: bool = False,
) -> Source:
  """Returns the source for `unpack` when the step is compiled only.

  The data is read: its size and its classes count.

  Raises:
    UserError: as `load` does.
  """
  check_ranges(config, _RANGES)
  return _load_source(config.data, data_dir, fake_data)


def unpack(
  config: ml_collections.ConfigDict,
  source: Source,
  strategy: tf.distribute.Strategy,
  profile_steps: tuple[int, int] | None = None,
) -> Experiment:
  """Returns the experiment of a config on a source.

  Args:
    config: An experiment, as in configs/.
    source: The data set.
    strategy: The strategy to train with.
    profile_steps: As in `loop.Plan`.

  Raises:
    UserError: for a value that cannot be trained with.
  """
  # Again, for callers that have not called `load`.
  check(config, strategy)
  replicas = strategy.num_replicas_in_sync
  _check_source(config, source, replicas)
  plan = make_plan(config, source.train.size, profile_steps)
  optimizer, clipping = read_optimizer(
    config,
    read_learning_rate(config, plan.steps_per_epoch, plan.total_steps),
    strategy,
  )
  data = config.data
  make_pipeline = _pipeline_maker(data.pipeline, source)
  batching = read_batching(config)
  return Experiment(
    seed=config.seed,
    source=source,
    pipeline=data.pipeline,
    batching=batching,
    make_pipeline=lambda split, context: make_pipeline(
      split, batching, context
    ),
    architecture=Architecture(
      name=config.model.name,
      width=config.model.width,
      blocks_per_stage=tuple(config.model.blocks_per_stage),
      image_shape=(data.image_size, data.image_size, source.channels),
      num_classes=len(source.class_names),
      synchronized=config.model.synchronized_batch_norm and replicas > 1,
      batch_norm_momentum=config.model.batch_norm_momentum,
      batch_norm_bias_rate=config.model.batch_norm_bias_rate,
      logit_scale=config.model.logit_scale,
      uses_xla_within=devices.uses_xla_within(config.jit_compile, strategy),
    ),
    optimizer=optimizer,
    synchronize_statistics=optimizers.synchronizes_statistics(config.lookahead),
    clipping=clipping,
    objective=read_objective(config, plan.steps_per_epoch),
    plan=plan,
    jit_compile=devices.uses_xla(config.jit_compile, strategy, on_cpu=False),
    whitening_images=config.model.whitening_images,
    records={
      "config": config.to_dict(),
      "source": source.describe(),
      "runtime": {"precision": devices.precision()},
    },
  )


def of_record(
  config: Mapping[str, Any],
  source: Mapping[str, Any],
  strategy: tf.distribute.Strategy,
) -> Experiment:
  """Returns the experiment of a run, without its images.

  Args:
    config: The run's config.json.
    source: The run's source.json.
    strategy: The strategy to use now, of any number of replicas.

  Raises:
    UserError: as `unpack` does.
  """
  described = splits.of_record(source)
  return unpack(config_of_record(config, _NEWER), described, strategy)


def make_model_and_slots(
  experiment: Experiment,
  strategy: tf.distribute.Strategy,
  prepare: Callable[[keras.Model], None] = lambda model: None,
) -> keras.Model:
  """Returns the model of an experiment, after building its optimizer.

  Args:
    experiment: What to train.
    strategy: The strategy to train with.
    prepare: Called with the model, before the optimizer is built.
  """
  with strategy.scope():
    model = make_model(experiment.architecture)
    prepare(model)
    optimizers.build(
      experiment.optimizer, model, experiment.synchronize_statistics
    )
  return model


def make_plan(
  config: ml_collections.ConfigDict,
  train_size: int,
  profile_steps: tuple[int, int] | None = None,
) -> loop.Plan:
  """Returns the plan of an experiment on `train_size` examples."""
  steps_per_epoch = train_size // config.global_batch_size
  steps_in = functools.partial(loop.steps_in, steps_per_epoch=steps_per_epoch)
  return loop.Plan(
    total_steps=steps_in(config.num_epochs),
    steps_per_epoch=steps_per_epoch,
    steps_per_loop=config.steps_per_loop,
    eval_every_steps=steps_in(config.eval_every_epochs),
    checkpoint_every_steps=steps_in(config.checkpoint_every_epochs),
    global_batch_size=config.global_batch_size,
    keep_checkpoints=config.keep_checkpoints,
    profile_steps=profile_steps,
  )


def read_batching(config: ml_collections.ConfigDict) -> Batching:
  """Returns how the examples of an experiment become batches."""
  data = config.data
  defaults = Cut(data.image_size)
  return Batching(
    global_batch_size=config.global_batch_size,
    seed=config.seed,
    shuffle_buffer=data.shuffle_buffer,
    cut=Cut(
      data.image_size,
      horizontal_flip=data.horizontal_flip,
      crop_area=tuple(data.crop_area or defaults.crop_area),
      crop_aspect_ratio=tuple(
        data.crop_aspect_ratio or defaults.crop_aspect_ratio
      ),
      eval_resize=_eval_resize(data),
      antialias=bool(data.antialias),
    ),
    crop_padding=data.crop_padding,
    crop_fill=data.crop_fill,
    alternating_flip=data.alternating_flip,
    cache=data.cache is not False,
  )


def read_objective(
  config: ml_collections.ConfigDict, steps_per_epoch: int = 1
) -> Objective:
  """Returns what an experiment minimizes.

  Args:
    config: An experiment, as in configs/.
    steps_per_epoch: Training steps in an epoch.
  """
  bias_epochs = config.model.whitening_bias_epochs
  return Objective(
    global_batch_size=config.global_batch_size,
    mean=tuple(config.data.mean),
    std=tuple(config.data.std),
    label_smoothing=config.label_smoothing,
    l2_penalty=config.l2_penalty,
    whitening_bias_steps=(
      None if bias_epochs is None else round(bias_epochs * steps_per_epoch)
    ),
    test_time_augmentation=config.test_time_augmentation,
  )


def _load_source(data, data_dir, fake_data):
  return sources.load(
    data.name,
    data_dir,
    data.train_split,
    data.validation_split,
    fake_data,
    data.validation_fraction,
    data.split_seed,
  )


def _pipeline_maker(kind, source):
  """Returns a function of (split, batching, context)."""
  if source.is_made_up:
    return functools.partial(MadeUpImages, num_classes=len(source.class_names))
  return KINDS[kind]


def _eval_resize(data):
  """Returns the length of the shorter side before the central crop."""
  return data.eval_resize or round(data.image_size * 256 / 224)


def check(
  config: ml_collections.ConfigDict, strategy: tf.distribute.Strategy
) -> None:
  """Raises a UserError for a value that no data can be trained with.

  Args:
    config: An experiment, as in configs/. No data is read.
    strategy: The strategy to train with.
  """
  check_ranges(config, _RANGES)
  _check_pipeline(config.data)
  model = config.model
  _check_speedrun(model, config.data)
  if model.name == "imagenet_resnet" and model.width != _IMAGENET_WIDTH:
    raise UserError(
      f"model.width must be {_IMAGENET_WIDTH} for "
      f"model.name='imagenet_resnet'. Received: {model.width}"
    )
  replicas = strategy.num_replicas_in_sync
  if config.global_batch_size % replicas:
    raise UserError(
      f"global_batch_size={config.global_batch_size} must be a multiple of the "
      f"number of replicas, which is {replicas}."
    )
  check_jit_compile(config, strategy)
  check_learning_rate(config)
  check_optimizer(config)


def _check_speedrun(model, data):
  """Raises a UserError for what only the model "speedrun" has, or needs."""
  is_speedrun = model.name == "speedrun"
  for field in ("whitening_images", "whitening_bias_epochs"):
    if is_speedrun == (model[field] is None):
      raise UserError(
        f"model.{field} must be a number for model.name='speedrun', and None "
        f"for others. Received: {model[field]} for {model.name!r}"
      )
  if is_speedrun and data.image_size < LEAST_IMAGE_SIZE:
    raise UserError(
      f"data.image_size must be {LEAST_IMAGE_SIZE} or more for model.name="
      f"'speedrun'. Received: {data.image_size}"
    )


def _check_pipeline(data):
  """Raises a UserError for what the data or the pipeline has no use for."""
  if data.validation_fraction and data.name != "image_folder":
    raise UserError(
      f"data.validation_fraction={data.validation_fraction} goes with "
      f"data.name='image_folder', not with {data.name!r}, whose validation "
      "split is data.validation_split. Change one of the two."
    )
  for field, (kind, unused) in _FIELDS_OF_A_KIND.items():
    if data.pipeline != kind and data[field] != unused:
      raise UserError(
        f"data.{field}={data[field]} goes with data.pipeline={kind!r}. With "
        f"{data.pipeline!r} it must be {unused}."
      )
  if data.alternating_flip and not data.horizontal_flip:
    raise UserError(
      "data.alternating_flip=True goes with data.horizontal_flip=True. "
      f"Received: data.horizontal_flip={data.horizontal_flip}"
    )
  if data.crop_fill == "reflect" and data.crop_padding >= data.image_size:
    raise UserError(
      f"data.crop_padding must be less than data.image_size={data.image_size} "
      f"for data.crop_fill='reflect'. Received: {data.crop_padding}"
    )
  if data.pipeline == "large_images":
    resize = _eval_resize(data)
    if resize < data.image_size:
      raise UserError(
        f"data.eval_resize={resize} must not be less than data.image_size="
        f"{data.image_size}, which is cut out of it."
      )
    for field, least, greatest in (
      ("crop_area", 0, 1),
      ("crop_aspect_ratio", 0, math.inf),
    ):
      values = data[field]
      if values is not None and not _is_range(values, least, greatest):
        raise UserError(
          f"data.{field} must be the least and the greatest value, above "
          f"{least} and at most {greatest}. Received: {values}"
        )


def _is_range(values, least, greatest):
  """Whether two numbers in order are above `least` and at most `greatest`."""
  try:
    low, high = values
    return least < low <= high <= greatest
  except (TypeError, ValueError):  # Not two, or no numbers.
    return False


def _check_source(config, source, replicas):
  """Raises a UserError if the data does not go with the config."""
  if len(source.class_names) < 2:
    raise UserError(
      f"data.name={config.data.name!r} has one class, "
      f"{source.class_names[0]!r}: a classifier needs two or more."
    )
  if config.global_batch_size > source.train.size:
    raise UserError(
      f"global_batch_size={config.global_batch_size} is more than the "
      f"{source.train.size} training examples: try "
      f"--config.global_batch_size={smaller_batch(source.train.size, replicas)}"
    )
  suits_large_images = source.train.is_encoded or source.is_made_up
  if config.data.pipeline == "large_images" and not suits_large_images:
    raise UserError(
      "data.pipeline='large_images' decodes image files, and "
      f"data.name={config.data.name!r} has none: use 'small_images'."
    )
  for field in ("mean", "std"):
    values = tuple(config.data[field])
    if len(values) not in (1, source.channels):
      raise UserError(
        f"data.{field} must hold one number, or one for each channel of "
        f"{config.data.name}, of which there are {source.channels}. "
        f"Received: {values}"
      )
