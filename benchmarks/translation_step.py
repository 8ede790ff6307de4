"""How fast is the translation trainer's step beside PyTorch's Transformer?

Times whole training steps (forward with dropout, backward, Adam) of the
trainer's Transformer, bare and with Lookahead, as a graph and by XLA, and of
`torch.nn.Transformer` of the same size in a process of its own with as many
threads. They take turns. A batch is the same each time, and has no padding: a
row is one sentence. Writes table.md, results.json and speed.png.

python -m benchmarks.translation_step --workdir=runs/translation_step \
    --peers_python=peers/bin/python  # See requirements-peers.txt.
"""

import contextlib
import functools
import os
import sys

import keras
import ml_collections
import numpy as np
import tensorflow as tf
import tqdm
from absl import app, flags

from benchmarks import peers, results, training_speed
from configs import lookahead, translation
from trainers.translation import experiment, training_step

_WORKDIR = flags.DEFINE_string("workdir", None, "Where to write the results.")
_PEERS_PYTHON = flags.DEFINE_string(
  "peers_python", None, "Interpreter with PyTorch; without it ours alone."
)
_ROUNDS = flags.DEFINE_integer("rounds", 20, "Of each.", lower_bound=1)
_STEPS = flags.DEFINE_integer(
  "steps", 5, "Steps in a round: with Lookahead, a period.", lower_bound=1
)
_PATIENCE = flags.DEFINE_float(
  "patience", 300.0, "Seconds that it may wait for a quiet machine."
)
_VARIANTS = flags.DEFINE_multi_enum(
  "variants",
  list(training_speed.VARIANTS),
  list(training_speed.VARIANTS),
  "Of ours.",
)
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


def _make_unit(config, batch, uses_xla, has_lookahead):
  config = ml_collections.ConfigDict(config)
  config.jit_compile = uses_xla
  if has_lookahead:
    lookahead.add_to(config, sync_period=5, slow_step_size=0.5)
  keras.utils.set_random_seed(0)
  strategy = tf.distribute.OneDeviceStrategy("CPU:0")
  model, optimizer = experiment.make_model_and_optimizer(
    config, config.vocabulary.size, strategy
  )
  train_step = training_step.make_train_step(model, optimizer, config, strategy)
  return training_speed.make_unit(train_step, batch, _STEPS.value)


def _make_peer(config):
  """Returns a peer that trains the same in PyTorch."""
  return peers.Peer(
    _PEERS_PYTHON.value,
    "torch_translation",
    warmup_steps=_STEPS.value,
    sizes={
      "vocabulary_size": config.vocabulary.size,
      "length": _LENGTH.value,
      "width": config.model.d_model,
      "heads": config.model.num_heads,
      "layers": config.model.num_layers,
      "inner_width": config.model.d_ff,
      "dropout": config.model.dropout,
    },
    batch_size=_ROWS.value,
    label_smoothing=config.label_smoothing,
    threads=training_speed.threads(),
  )


def _time(run):
  """Returns a record for results.json."""
  config, batch = _config(), _make_batch()
  title = (
    f"Transformer, width {_WIDTH.value}, {_LAYERS.value} + {_LAYERS.value}"
  )
  units = {}
  with contextlib.ExitStack() as stack:
    if _PEERS_PYTHON.value:
      peer = stack.enter_context(_make_peer(config))
      run["versions"] |= peer.versions
      units[training_speed.PYTORCH] = functools.partial(peer.run, "bare")
    for variant in tqdm.tqdm(_VARIANTS.value, f"{title}: compile"):
      label, *options = training_speed.VARIANTS[variant]
      units[label] = _make_unit(config, batch, *options)
    measured = training_speed.measure(
      title,
      units,
      steps=_STEPS.value,
      rounds=_ROUNDS.value,
      patience=_PATIENCE.value,
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
  try:
    records = [_time(run)]
  except peers.NotMeasured as error:
    sys.exit(f"Error: {training_speed.PYTORCH} cannot be measured: {error}")
  table = training_speed.make_table(
    records,
    "target tokens",
    goal=_GOAL,
    steps=_STEPS.value,
    rounds=_ROUNDS.value,
  )
  text = results.write(_WORKDIR.value, run, table, {"time": records})
  training_speed.draw(
    records, "target tokens", os.path.join(_WORKDIR.value, "speed.png")
  )
  print(f"\n{text}\nWritten to {_WORKDIR.value}")


if __name__ == "__main__":
  flags.mark_flags_as_required(["workdir"])
  app.run(main)
