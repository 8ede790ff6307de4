"""What training_step.py trains: models, their steps, and PyTorch's of the same.

Each step trains on one batch, always the same, and returns the loss. The step
is the trainer's.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks import transformer
from configs import cifar, imagenet, language_modeling, lookahead
from trainers.image_classification import experiment as image_experiment
from trainers.image_classification import sources
from trainers.image_classification import train as image_train
from trainers.language_modeling import experiment as language_experiment
from trainers.language_modeling import train as language_train

MODELS = (
  "narrow_resnet",
  "small_transformer",
  "resnet18",
  "speedrun",
  "resnet50",
  "transformer",
  "awd_lstm",
)
_BPTT = 70  # Words of a segment of the AWD-LSTM.

# Makes a step of: a number of examples, whether XLA compiles it, and the period
# of Lookahead or None. The step takes nothing and returns the loss.
StepMaker = Callable[[int, bool, int | None], Callable[[], tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class Subject:
  """A model, and how it is trained.

  Attributes:
    title: What tables and charts call the model.
    inner: The inner optimizer.
    make_step: A StepMaker.
    batch_sizes: Examples in a batch: one case each, unless --batch_sizes says
      otherwise.
    unit: What speeds count.
    units_per_example: How many of these an example has.
    peer: Of a number of examples: PyTorch's step, its name in server.py and its
      arguments; None if there is none.
  """

  title: str
  inner: str
  make_step: StepMaker
  batch_sizes: Sequence[int]
  unit: str
  units_per_example: int
  peer: Callable[[int], tuple[str, dict[str, Any]]] | None


def define_flags() -> Callable[[str], Subject]:
  """Defines flags for sizes; returns a function of a name in MODELS."""
  image_size = flags.DEFINE_integer(
    "image_size",
    30,
    "narrow_resnet: height and width in pixels.",
    lower_bound=8,
  )
  channels = flags.DEFINE_integer(
    "channels", 15, "narrow_resnet: channels of the first stage.", lower_bound=1
  )
  transformer_size = transformer.define_size_flags()
  hidden_size = flags.DEFINE_integer(
    "hidden_size", 1150, "Width of the AWD-LSTM's layers.", lower_bound=1
  )
  words = flags.DEFINE_integer(
    "words", 10_000, "Size of its vocabulary.", lower_bound=3
  )
  makers = {
    "narrow_resnet": lambda: _narrow_resnet(image_size.value, channels.value),
    "small_transformer": lambda: _transformer(
      transformer.Size(120, 2, 2000, 30), [30, 60, 120]
    ),
    "resnet18": lambda: _classifier("resnet18", "wide ResNet-18, 32x32", 64),
    "speedrun": lambda: _classifier(
      "speedrun", "CIFAR-10 speed run, 32x32", 256
    ),
    "resnet50": lambda: _classifier("resnet50", "ResNet-50, 224x224", 8),
    "transformer": lambda: _transformer(transformer_size(), [64]),
    "awd_lstm": lambda: _awd_lstm(hidden_size.value, words.value),
  }
  return lambda name: makers[name]()


def _classifier(name, title, batch_size):
  def peer(examples):
    if name == "speedrun":
      return "speedrun", {"batch_size": examples}
    return "classifier", {"model": name, "batch_size": examples}

  make_step = functools.partial(_image_step, name)
  return Subject(title, "sgd", make_step, [batch_size], "images", 1, peer)


def _narrow_resnet(size, channels):
  make_step = functools.partial(
    _image_step, "resnet18", image_size=size, channels=channels
  )
  title = f"narrow ResNet-18, {channels} channels, {size}x{size}"
  return Subject(title, "sgd", make_step, [30, 60, 120], "images", 1, None)


def _transformer(size, batch_sizes):
  return Subject(
    size.title(),
    "adam",
    functools.partial(transformer.make_step, size),
    batch_sizes,
    "target tokens",
    size.length,
    lambda examples: (
      "transformer",
      transformer.training_peer(size, examples),
    ),
  )


def _awd_lstm(hidden_size, words):
  return Subject(
    f"AWD-LSTM, 3 layers of {hidden_size:,}",
    "sgd",
    functools.partial(_language_step, hidden_size, words),
    [80],
    "words",
    _BPTT,
    functools.partial(_language_peer, hidden_size, words),
  )


def _speedrun_config():
  config = cifar.get_config("speedrun,sgd")
  config.data.name = "cifar10"  # Whose classes are known without the data.
  config.data.validation_fraction = None
  return config


# Experiments of the image trainer, without Lookahead.
_IMAGE_CONFIGS = {
  "resnet18": lambda: cifar.get_config("cifar10,sgd"),
  "speedrun": _speedrun_config,
  "resnet50": lambda: imagenet.get_config("resnet50,sgd"),
}


def _image_step(
  name, batch_size, uses_xla, sync_period, image_size=None, channels=None
):
  """Returns a step of the image trainer: weight decay, SGD with momentum.

  Args:
    name: A key of _IMAGE_CONFIGS.
    batch_size: Images in a step.
    uses_xla: Whether XLA compiles the step. Else it is what the trainer does by
      default.
    sync_period: Lookahead's, or None for the inner optimizer alone.
    image_size: Height and width in pixels, or None for the experiment's.
    channels: Channels of the first stage, or None for the experiment's.
  """
  config = _IMAGE_CONFIGS[name]()
  config.global_batch_size = batch_size
  # None is the trainer's default: on a CPU a graph, parts of it by XLA.
  config.jit_compile = uses_xla or None
  config.data.image_size = image_size or config.data.image_size
  config.model.width = channels or config.model.width
  if sync_period is not None:
    lookahead.add_to(config, sync_period=sync_period, slow_step_size=0.5)
  source = sources.made_up(config.data.name)
  strategy = tf.distribute.OneDeviceStrategy("CPU:0")
  step, (images, labels) = image_train.make_step(
    image_experiment.unpack(config, source, strategy), strategy
  )
  random = np.random.default_rng(0)
  classes = len(source.class_names)
  batch = (
    tf.constant(random.random(images.shape, "float32")),
    tf.constant(random.integers(classes, size=labels.shape, dtype="int32")),
  )
  return lambda: step(batch)["loss"]


def _language_config(hidden_size, words, batch_size):
  """Returns the paper's AWD-LSTM, whose first two layers have another width."""
  config = language_modeling.get_config()
  language_modeling.make_large(config)
  config.model.hidden_size = hidden_size
  config.data.made_up_words = words
  config.global_batch_size = batch_size
  config.bptt_lengths = (_BPTT,)  # That of the batch alone.
  config.learning_rate.peak = 0.01
  return config


def _language_step(hidden_size, words, batch_size, uses_xla, sync_period):
  """Returns a step of the language modeling trainer.

  The step has all dropouts and penalties, clipped gradients, SGD, and the state
  that the step before left. Columns have _BPTT words each. What XLA does not
  compile as a whole has the loss compiled, as on a CPU without the config's
  `jit_compile`.
  """
  config = _language_config(hidden_size, words, batch_size)
  config.jit_compile = uses_xla or None
  if sync_period is not None:
    lookahead.add_to(config, sync_period=sync_period, slow_step_size=0.5)
  strategy = tf.distribute.OneDeviceStrategy("CPU:0")
  texts = language_experiment.source_to_compile(config, fake_data=True)
  step, _ = language_train.make_step(
    language_experiment.unpack(config, texts, strategy), strategy
  )
  tokens = np.random.default_rng(0).integers(
    words, size=(batch_size, _BPTT + 1), dtype=np.int32
  )
  batch = {
    "tokens": tf.constant(tokens),
    "size": tf.constant(_BPTT),
    "is_first": tf.constant(False),
    "step": tf.constant(0),
  }
  return lambda: step(batch)["loss"]


def _language_peer(hidden_size, words, batch_size):
  """Returns PyTorch's "awd_lstm", and arguments that make it train the same."""
  unpacked = language_experiment.unpack(
    _language_config(hidden_size, words, batch_size),
    None,
    tf.distribute.OneDeviceStrategy("CPU:0"),
  )
  return "awd_lstm", {
    "sizes": {
      "vocabulary_size": words,
      "embedding_size": unpacked.architecture.embedding_size,
      "widths": unpacked.architecture.widths(),
    },
    "rates": dataclasses.asdict(unpacked.objective.rates),
    "penalties": dataclasses.asdict(unpacked.objective.penalties),
    "shape": (_BPTT, batch_size),
  }
