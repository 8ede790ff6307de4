"""A language modeling config, unpacked into plain values."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import ml_collections
import numpy as np
import tensorflow as tf

from trainers import devices, initialization, optimizers, summary
from trainers import workdir as workdir_lib
from trainers.experiment import of_record as config_of_record
from trainers.experiment import (
  plan_of_epochs,
  read_learning_rate,
  read_optimizer,
)
from trainers.language_modeling import checks, segments, sources, vocabulary
from trainers.language_modeling.model import Architecture, AwdLstm, make_model
from trainers.language_modeling.regularization import Penalties, Rates
from trainers.language_modeling.state import (
  CarriedState,
  Progress,
  RateFactors,
)
from trainers.language_modeling.step import Objective
from trainers.language_modeling.vocabulary import Vocabulary
from trainers.plan import Plan


@dataclasses.dataclass(frozen=True)
class Texts:
  """The text of an experiment.

  Attributes:
    source: The data set.
    words: The vocabulary of its training text.
    tokens: int32 of shape (words,) by the names of `sources.SPLITS`; "test"
      only if there is such a split.
  """

  source: sources.Source
  words: Vocabulary
  tokens: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Experiment:
  """What a config describes, on some text and with a strategy.

  Attributes:
    seed: Seed of the model and of lengths and masks, in [0, 2**32 - 2].
    texts: The text, or None for a model without one.
    columns: How many columns the training text is cut into.
    segments: Of the training text; None without one.
    lengths: Of segments.
    architecture: Of the model.
    optimizer: Not built.
    clipping: Of the gradients.
    factors: Of the learning rate.
    objective: What is minimized.
    plan: What the loop does at which step; None without a text.
    eval_columns: How many columns a text is evaluated in, at most.
    eval_context: Words of context that each of these begins with.
    final_weights: Which weights are judged at the end, one of
      `checks.WEIGHTS`.
    jit_compile: Whether XLA compiles one replica's step.
    jit_compile_loss: Whether XLA compiles the loss alone.
    optimizer_lines: What is told of the optimizer at the start.
    records: All that decides the result of the run, JSON-like dictionaries.
  """

  seed: int
  texts: Texts | None
  columns: int
  segments: segments.Segments | None
  lengths: segments.Lengths
  architecture: Architecture
  optimizer: keras.optimizers.Optimizer
  clipping: optimizers.Clipping
  factors: RateFactors
  objective: Objective
  plan: Plan | None
  eval_columns: int
  eval_context: int
  final_weights: str
  jit_compile: bool
  jit_compile_loss: bool
  optimizer_lines: Sequence[summary.Line]
  records: Mapping[str, Mapping[str, Any]]


def load(config: ml_collections.ConfigDict, run: devices.Runtime) -> Experiment:
  """Returns the experiment of a config, on the text that it names.

  Args:
    config: An experiment, as in configs/.
    run: Where the text is, and which devices to use.

  Raises:
    UserError: for a value that cannot be trained with, and for text that is not
      there or does not go with the config.
  """
  checks.check(config, run.strategy)
  source = _load_source(config.data, run.data_dir, run.fake_data)
  texts = _encode(source, _find_vocabulary(source, run))
  experiment = _unpack(config, texts, run.strategy, run.profile_steps)
  records = initialization.record(experiment.records, run)
  return dataclasses.replace(experiment, records=records)


def source_to_compile(
  config: ml_collections.ConfigDict,
  data_dir: str | None = None,
  fake_data: bool = False,
) -> Texts:
  """Returns the text for `unpack` when the step is compiled only.

  The text is read: the size of its vocabulary counts.

  Raises:
    UserError: for data that is not there.
  """
  source = _load_source(config.data, data_dir, fake_data)
  return _encode(source, Vocabulary.of(source.train))


def unpack(
  config: ml_collections.ConfigDict,
  texts: Texts | None,
  strategy: tf.distribute.Strategy,
  profile_steps: tuple[int, int] | None = None,
) -> Experiment:
  """Returns the experiment of a config on a text.

  Args:
    config: An experiment, as in configs/.
    texts: The text; None for what a trained model needs.
    strategy: The strategy to train with.
    profile_steps: As in `Plan`.

  Raises:
    UserError: for a value that cannot be trained with.
  """
  checks.check(config, strategy)
  return _unpack(config, texts, strategy, profile_steps)


def _unpack(config, texts, strategy, profile_steps):
  """Returns what `unpack` does, of a config that `checks.check` has passed."""
  lengths = segments.Lengths(config.bptt, tuple(config.bptt_lengths))
  made, plan, steps_per_epoch = None, None, 1
  if texts:
    made = _cut(config, texts, lengths)
    steps_per_epoch = made.steps_per_epoch
    plan = plan_of_epochs(config, steps_per_epoch, profile_steps)
  factors = RateFactors(
    config.plateau.patience, config.plateau.factor, strategy
  )
  optimizer, clipping = read_optimizer(
    config,
    read_learning_rate(
      config, steps_per_epoch, plan.total_steps if plan else 1
    ),
    strategy,
    (factors.plateau, factors.length),
  )
  model = config.model
  return Experiment(
    seed=config.seed,
    texts=texts,
    columns=config.global_batch_size,
    segments=made,
    lengths=lengths,
    architecture=Architecture(
      model.embedding_size, model.hidden_size, model.num_layers
    ),
    optimizer=optimizer,
    clipping=clipping,
    factors=factors,
    objective=_read_objective(config),
    plan=plan,
    eval_columns=config.eval_batch_size,
    eval_context=config.eval_context,
    final_weights=config.final_weights,
    jit_compile=devices.uses_xla(config.jit_compile, strategy, on_cpu=False),
    jit_compile_loss=devices.uses_xla_within(config.jit_compile, strategy),
    optimizer_lines=[
      *summary.optimizer(config.to_dict()),
      *_describe_plateau(config.plateau),
    ],
    records=_make_records(config, texts),
  )


def _describe_plateau(plateau):
  """Returns a line on when the learning rate is made less, if ever."""
  if not plateau.patience:
    return []
  evaluations = summary.counted(plateau.patience, "evaluation")
  factor = f"times {plateau.factor:g}"
  return [("plateau", f"{factor} after {evaluations} without a better loss")]


def _cut(config, texts, lengths):
  """Returns the segments of the training text, after its checks."""
  checks.check_text(config, texts.source, texts.tokens)
  length = len(texts.tokens["train"]) // config.global_batch_size
  return segments.Segments(length, lengths, config.seed)


def _read_objective(config):
  model = config.model
  return Objective(
    bptt=config.bptt,
    rates=Rates(
      words=model.word_dropout,
      inputs=model.input_dropout,
      hidden=model.hidden_dropout,
      outputs=model.output_dropout,
      weights=model.weight_dropout,
    ),
    penalties=Penalties(config.activation_penalty, config.temporal_penalty),
    seed=config.seed,
  )


def _make_records(config, texts):
  """Returns all that decides the result of a run."""
  records = {
    "config": config.to_dict(),
    "runtime": {"precision": devices.precision()},
  }
  if texts:
    records["source"] = texts.source.describe()
    records["vocabulary"] = texts.words.describe()
  return records


def of_record(
  record: Mapping[str, Any], strategy: tf.distribute.Strategy
) -> Experiment:
  """Returns the experiment of a run, without its text.

  Args:
    record: The run's config.json.
    strategy: The strategy to use now, of any number of replicas.

  Raises:
    UserError: as `unpack` does.
  """
  return unpack(config_of_record(record), None, strategy)


def is_own(record: Mapping[str, Any]) -> bool:
  """Whether the config.json of a run is that of this trainer."""
  return "bptt" in record


def make_model_and_slots(
  experiment: Experiment,
  vocabulary_size: int,
  strategy: tf.distribute.Strategy,
  prepare: Callable[[AwdLstm], None] = lambda model: None,
) -> AwdLstm:
  """Returns the model of an experiment, after building its optimizer.

  Args:
    experiment: What to train.
    vocabulary_size: Number of words.
    strategy: The strategy to train with.
    prepare: Called with the model, before the optimizer is built.
  """
  with strategy.scope():
    model = make_model(experiment.architecture, vocabulary_size)
    prepare(model)
    experiment.optimizer.build(model.trainable_variables)
  return model


def make_progress(
  experiment: Experiment, strategy: tf.distribute.Strategy
) -> Progress:
  """Returns what checkpoints of an experiment hold beside weights and step.

  Args:
    experiment: What to train.
    strategy: The strategy to train with.
  """
  carried = CarriedState(
    experiment.architecture.widths(),
    experiment.columns,
    strategy,
    is_local=optimizers.is_local(experiment.optimizer),
  )
  return Progress(carried, experiment.factors)


def _load_source(data, data_dir, fake_data):
  if fake_data:
    return sources.made_up(data.made_up_words)
  named = {name: data[f"{name}_file"] for name in sources.SPLITS}
  return sources.load(sources.Data(data.name, named), data_dir)


def _find_vocabulary(source, run):
  """Returns the vocabulary of the training text, or of the run to start from.

  A run that has started from another has the vocabulary in its own directory.
  """
  if not run.init_from:
    return Vocabulary.of(source.train)
  is_due = initialization.is_due(run)
  directory = run.init_from if is_due else run.workdir
  config = workdir_lib.read(directory, "config")
  record = workdir_lib.read(directory, "vocabulary")
  if config and record and is_own(config):
    return vocabulary.load(directory, record)
  initialization.require_own(run, not is_due)
  return Vocabulary.of(source.train)  # --workdir is refused later.


def _encode(source, words):
  tokens = {
    name: words.encode(split)
    for name in sources.SPLITS
    if (split := getattr(source, name))
  }
  return Texts(source, words, tokens)
