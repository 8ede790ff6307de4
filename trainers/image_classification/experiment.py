"""An image classification config, unpacked into plain values."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import ml_collections
import tensorflow as tf

from trainers import devices, initialization, optimizers, summary
from trainers.experiment import of_record as config_of_record
from trainers.experiment import (
  plan_of_epochs,
  read_learning_rate,
  read_optimizer,
)
from trainers.image_classification import checks, sources, splits
from trainers.image_classification.model import Architecture, make_model
from trainers.image_classification.pipelines import (
  KINDS,
  Batching,
  ImagePipeline,
  MadeUpImages,
)
from trainers.image_classification.pixels import Cut
from trainers.image_classification.splits import Source, Split
from trainers.image_classification.step import Objective
from trainers.plan import Plan

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


@dataclasses.dataclass(frozen=True)
class Experiment:
  """What a config describes, on a data set and with a strategy.

  Attributes:
    seed: Seed of the model and of what a step draws, in [0, 2**32 - 2].
    source: The data set.
    pipeline: The kind of pipeline for images that are read, a key of KINDS.
    batching: How examples become batches.
    architecture: Of the model.
    optimizer: Not built.
    synchronize_statistics: Whether Lookahead takes moving statistics along.
    clipping: Of the gradients.
    objective: What is minimized.
    plan: What the loop does at which step.
    jit_compile: Whether XLA compiles one replica's step.
    whitening_images: Training images that the filters of the first layer are
      made from; None if the model has no such filters.
    optimizer_lines: What is told of the optimizer at the start.
    records: All that decides the result of the run, JSON-like dictionaries.
  """

  seed: int
  source: Source
  pipeline: str
  batching: Batching
  architecture: Architecture
  optimizer: keras.optimizers.Optimizer
  synchronize_statistics: bool
  clipping: optimizers.Clipping
  objective: Objective
  plan: Plan
  jit_compile: bool
  whitening_images: int | None
  optimizer_lines: Sequence[summary.Line]
  records: Mapping[str, Mapping[str, Any]]

  def make_pipeline(
    self, split: Split, context: tf.distribute.InputContext
  ) -> ImagePipeline:
    """Returns the pipeline of a split for one host."""
    make = KINDS[self.pipeline]
    if self.source.is_made_up:
      make = functools.partial(
        MadeUpImages, num_classes=len(self.source.class_names)
      )
    return make(split, self.batching, context)


def load(config: ml_collections.ConfigDict, run: devices.Runtime) -> Experiment:
  """Returns the experiment of a config, on the data that it names.

  Args:
    config: An experiment, as in configs/.
    run: Where the data is, and which devices to use.

  Raises:
    UserError: for a value that cannot be trained with, and for data that is not
      there or does not go with the config.
  """
  checks.check(config, run.strategy)
  source = _load_source(config.data, run.data_dir, run.fake_data)
  experiment = _unpack(config, source, run.strategy, run.profile_steps)
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
    UserError: for data that is not there.
  """
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
    profile_steps: As in `Plan`.

  Raises:
    UserError: for a value that cannot be trained with.
  """
  checks.check(config, strategy)
  return _unpack(config, source, strategy, profile_steps)


def _unpack(config, source, strategy, profile_steps):
  """Returns what `unpack` does, of a config that `checks.check` has passed."""
  checks.check_source(config, source, strategy.num_replicas_in_sync)
  plan = plan_of_epochs(
    config, source.train.size // config.global_batch_size, profile_steps
  )
  optimizer, clipping = read_optimizer(
    config,
    read_learning_rate(config, plan.steps_per_epoch, plan.total_steps),
    strategy,
  )
  return Experiment(
    seed=config.seed,
    source=source,
    pipeline=config.data.pipeline,
    batching=read_batching(config),
    architecture=_read_architecture(config, source, strategy),
    optimizer=optimizer,
    synchronize_statistics=bool(
      config.lookahead and config.lookahead.get("synchronize_statistics")
    ),
    clipping=clipping,
    objective=read_objective(config, plan.steps_per_epoch),
    plan=plan,
    jit_compile=devices.uses_xla(config.jit_compile, strategy, on_cpu=False),
    whitening_images=config.model.whitening_images,
    optimizer_lines=summary.optimizer(config.to_dict()),
    records={
      "config": config.to_dict(),
      "source": source.describe(),
      "runtime": {"precision": devices.precision()},
    },
  )


def _read_architecture(config, source, strategy):
  """Returns the sizes of the model, which the data has a part in."""
  model, size = config.model, config.data.image_size
  has_replicas = strategy.num_replicas_in_sync > 1
  return Architecture(
    name=model.name,
    width=model.width,
    blocks_per_stage=tuple(model.blocks_per_stage),
    image_shape=(size, size, source.channels),
    num_classes=len(source.class_names),
    synchronized=model.synchronized_batch_norm and has_replicas,
    batch_norm_momentum=model.batch_norm_momentum,
    batch_norm_bias_rate=model.batch_norm_bias_rate,
    logit_scale=model.logit_scale,
    tuned_for_cpu=devices.uses_xla_within(config.jit_compile, strategy),
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


def _eval_resize(data):
  """Returns the length of the shorter side before the central crop."""
  return data.eval_resize or round(data.image_size * 256 / 224)
