"""How fast is the translation trainer's step beside PyTorch's Transformer?

Times whole training steps (forward with dropout, backward, Adam) of the
trainer's Transformer, bare and with Lookahead, as a graph and by XLA, and of
`torch.nn.Transformer` of the same size in a process of its own with as many
threads. They take turns. A batch is the same each time, and has no padding: a
row is one sentence. Writes table.md, results.json and speed.png.

python -m benchmarks.translation_step --workdir=runs/translation_step \
    --peers_python=peers/bin/python  # See requirements-peers.txt.
"""

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks import results, small_transformer, speed, training_speed
from trainers.translation import experiment, training_step

_WORKDIR = flags.DEFINE_string("workdir", None, "Where to write the results.")
_ROUNDS = flags.DEFINE_integer("rounds", 20, "Of each.", lower_bound=1)
_ROWS = flags.DEFINE_integer("rows", 64, "Sentences in a batch.")
_LENGTH = flags.DEFINE_integer("length", 24, "Tokens of a sentence.")

_GOAL = 1.2


def _config():
  config = small_transformer.make_config()
  config.data.max_length = _LENGTH.value
  config.global_batch_tokens = _ROWS.value * _LENGTH.value
  return config


def _make_batch(subwords):
  """Returns a batch as the input pipeline has it, of one sentence a row."""
  shape = (_ROWS.value, _LENGTH.value)
  random = np.random.default_rng(0)
  places = np.broadcast_to(np.arange(_LENGTH.value, dtype="int32"), shape)
  batch = {}
  for side in ("source", "target"):
    tokens = random.integers(3, subwords, shape, "int32")
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
  title = small_transformer.title()
  measured = training_speed.measure(
    title,
    config,
    _make_train_step,
    _make_batch(config.vocabulary.size),
    "torch_translation",
    _peer_arguments(config),
    rounds=_ROUNDS.value,
    versions=run["versions"],
  )
  return {
    "model": title,
    "batch": f"{_ROWS.value} x {_LENGTH.value}",
    "subwords": config.vocabulary.size,
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
  text = speed.write(
    _WORKDIR.value,
    run,
    records,
    "target tokens",
    training_speed.PYTORCH,
    goal=_GOAL,
    rounds=_ROUNDS.value,
  )
  print(f"\n{text}\nWritten to {_WORKDIR.value}")


if __name__ == "__main__":
  flags.mark_flags_as_required(["workdir"])
  app.run(main)
