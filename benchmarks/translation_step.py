"""How fast is the translation trainer's step beside PyTorch's Transformer?

Times whole training steps (forward with dropout, backward, Adam) of the
trainer's Transformer, bare and with Lookahead, as a graph and by XLA, and of
`torch.nn.Transformer` of the same size in a process of its own with as many
threads. They take turns. A batch is the same each time, and has no padding: a
row is one sentence. Writes table.md, results.json and speed.png.

python -m benchmarks.translation_step --workdir=runs/translation_step \
    --peers_python=peers/bin/python  # See requirements-peers.txt.
"""

import os

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks import results, speed, training_speed
from configs import translation
from trainers.translation import experiment, training_step

_WORKDIR = flags.DEFINE_string("workdir", None, "Where to write the results.")
_ROUNDS = flags.DEFINE_integer("rounds", 20, "Of each.", lower_bound=1)
_WIDTH = flags.DEFINE_integer("width", 256, "Of the layers.")
_LAYERS = flags.DEFINE_integer("layers", 3, "Of encoder and decoder each.")
_SUBWORDS = flags.DEFINE_integer("subwords", 8_000, "Size of the vocabulary.")
_ROWS = flags.DEFINE_integer("rows", 64, "Sentences in a batch.")
_LENGTH = flags.DEFINE_integer("length", 24, "Tokens of a sentence.")

_GOAL = 1.2
_HEADS = 4


def _config():
  config = translation.get_config()
  config.model.d_model = _WIDTH.value
  config.model.d_ff = 4 * _WIDTH.value
  config.model.num_heads = _HEADS
  config.model.num_layers = _LAYERS.value
  config.vocabulary.size = _SUBWORDS.value
  config.data.max_length = _LENGTH.value
  config.global_batch_tokens = _ROWS.value * _LENGTH.value
  return config


def _make_batch():
  """Returns a batch as the input pipeline has it, of one sentence a row."""
  shape = (_ROWS.value, _LENGTH.value)
  random = np.random.default_rng(0)
  places = np.broadcast_to(np.arange(_LENGTH.value, dtype="int32"), shape)
  batch = {}
  for side in ("source", "target"):
    tokens = random.integers(3, _SUBWORDS.value, shape, "int32")
    batch[side] = tf.constant(tokens)
    batch[f"{side}_segments"] = tf.ones(shape, tf.int32)
    batch[f"{side}_positions"] = tf.constant(places)
  return batch


def _make_train_step(config, strategy):
  model, optimizer = experiment.make_model_and_optimizer(
    config, config.vocabulary.size, strategy
  )
  return training_step.make_train_step(model, optimizer, config, strategy)


def _peer_arguments(config):
  """Returns what makes PyTorch train the same."""
  return {
    "sizes": {
      "vocabulary_size": config.vocabulary.size,
      "length": _LENGTH.value,
      "width": config.model.d_model,
      "heads": config.model.num_heads,
      "layers": config.model.num_layers,
      "inner_width": config.model.d_ff,
      "dropout": config.model.dropout,
    },
    "batch_size": _ROWS.value,
    "label_smoothing": config.label_smoothing,
  }


def _time(run):
  """Returns a record for results.json."""
  config = _config()
  title = (
    f"Transformer, width {_WIDTH.value}, {_LAYERS.value} + {_LAYERS.value}"
  )
  measured = training_speed.measure(
    title,
    config,
    _make_train_step,
    _make_batch(),
    "torch_translation",
    _peer_arguments(config),
    rounds=_ROUNDS.value,
    versions=run["versions"],
  )
  return {
    "model": title,
    "batch": f"{_ROWS.value} x {_LENGTH.value}",
    "subwords": _SUBWORDS.value,
    "per_step": _ROWS.value * _LENGTH.value,
    **measured,
  }


def main(arguments: list[str]) -> None:
  """Measures, prints and draws."""
  if len(arguments) > 1:
    raise app.UsageError(f"Unknown arguments: {arguments[1:]}")
  run = results.describe_run(
    "benchmarks.translation_step", ["lookahead-tf", "tensorflow", "keras"]
  )
  records = [_time(run)]
  table = speed.make_table(
    records,
    "target tokens",
    training_speed.PYTORCH,
    goal=_GOAL,
    rounds=_ROUNDS.value,
  )
  text = results.write(_WORKDIR.value, run, table, {"time": records})
  speed.draw(
    records,
    "target tokens",
    training_speed.PYTORCH,
    os.path.join(_WORKDIR.value, "speed.png"),
  )
  print(f"\n{text}\nWritten to {_WORKDIR.value}")


if __name__ == "__main__":
  flags.mark_flags_as_required(["workdir"])
  app.run(main)
