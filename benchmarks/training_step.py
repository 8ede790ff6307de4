"""What does Lookahead add to a whole training step?

Times steps (forward, backward, optimizer) of two small models with Lookahead
and with its inner optimizer alone, in turn in one process. A second model with
the inner optimizer alone takes part too: how far its ratio is from 1 is what
the machine's noise does. One measurement is a period, with its
synchronization. Writes table.md, results.json and ratios.png.

python -m benchmarks.training_step --workdir=runs/training_step
"""

import functools
import gc
import itertools
import os
import statistics
import time

import keras
import ml_collections
import numpy as np
import tensorflow as tf
import tqdm
from absl import app, flags
from keras import layers

from benchmarks import interleaved, keras_step, ratio_chart, results
from trainers.image_classification import model as image_model

_WORKDIR = flags.DEFINE_string("workdir", None, "Where to write the results.")
_ROUNDS = flags.DEFINE_integer("rounds", 200, "Of each.", lower_bound=1)
_PATIENCE = flags.DEFINE_float(
  "patience", 300.0, "Seconds that each case may wait for a quiet machine."
)
_MODELS = flags.DEFINE_multi_enum(
  "models",
  ["resnet", "transformer"],
  ["resnet", "transformer"],
  "ResNet with SGD, Transformer with Adam.",
)
_MODES = flags.DEFINE_multi_enum(
  "modes", list(keras_step.MODES), keras_step.MODES, "Execution."
)
_SYNC_PERIOD = flags.DEFINE_integer(
  "sync_period", 5, "Steps in a period.", lower_bound=1
)
_BATCH_SIZE = flags.DEFINE_integer(
  "batch_size", 32, "Of both models.", lower_bound=1
)

_GOAL = 1.01
_AGAIN, _LOOKAHEAD = "inner optimizer again (noise)", "Lookahead"


def _resnet():
  """A narrow ResNet for 32x32 images, with its inner optimizer and a batch."""
  config = ml_collections.ConfigDict(
    {"name": "cifar_resnet", "width": 16, "blocks_per_stage": (2, 2, 2, 2)}
  )
  shape = (32, 32, 3)
  model = image_model.make_model(config, image_shape=shape, num_classes=10)
  random = np.random.default_rng(0)
  images = random.random((_BATCH_SIZE.value, *shape), "float32")
  return model, "sgd", images, random.integers(10, size=_BATCH_SIZE.value)


def _transformer(vocabulary=2000, length=32, size=128):
  """A small encoder that predicts tokens, its inner optimizer and a batch."""
  tokens = keras.Input((length,), dtype="int32", name="tokens")
  x = layers.Embedding(vocabulary, size)(tokens)
  for _ in range(2):
    y = layers.LayerNormalization()(x)
    x += layers.MultiHeadAttention(num_heads=4, key_dim=size // 4)(y, y)
    y = layers.LayerNormalization()(x)
    y = layers.Dense(4 * size, activation="relu")(y)
    x += layers.Dense(size)(y)
  logits = layers.Dense(vocabulary)(layers.LayerNormalization()(x))
  model = keras.Model(tokens, logits, name="transformer")
  batch = np.random.default_rng(0).integers(
    vocabulary, size=(_BATCH_SIZE.value, length), dtype="int32"
  )
  return model, "adam", batch, batch


_MAKERS = {"resnet": _resnet, "transformer": _transformer}


def _make_unit(name, mode, sync_period):
  """Returns (description, function that trains and returns seconds a step)."""
  keras.utils.set_random_seed(0)
  model, inner, *batch = _MAKERS[name]()
  batch = [tf.constant(array) for array in batch]
  optimizer = keras_step.make_optimizer(inner, sync_period)
  optimizer.build(model.trainable_variables)

  @tf.function(jit_compile=mode == "xla")
  def train_step(inputs, labels):
    with tf.GradientTape() as tape:
      logits = model(inputs, training=True)
      loss = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
      )
    variables = model.trainable_variables
    optimizer.apply(tape.gradient(loss, variables), variables)
    return loss

  def unit(steps):
    started = time.perf_counter()
    for _ in range(steps):
      loss = train_step(*batch)
    loss.numpy()  # Waits for the last step.
    return (time.perf_counter() - started) / steps

  unit(2 * _SYNC_PERIOD.value)  # Compiles, and touches all memory.
  description = {
    "model": name,
    "inner": inner,
    "mode": mode,
    "parameters": sum(v.numpy().size for v in model.trainable_variables),
  }
  return description, functools.partial(unit, _SYNC_PERIOD.value)


def _time_case(name, mode):
  """Returns a record for results.json."""
  title = f"{name}, {mode}"
  units = {}
  # In this order: both are neighbours of the reference in the middle.
  variants = {
    _LOOKAHEAD: _SYNC_PERIOD.value,
    "inner optimizer": None,
    _AGAIN: None,
  }
  for label, period in tqdm.tqdm(
    variants.items(), desc=f"{title}: compile", leave=False
  ):
    description, units[label] = _make_unit(name, mode, period)
  measurement = interleaved.measure(
    {title: units}, _ROUNDS.value, title, _PATIENCE.value
  )
  return {
    **description,
    "seconds_per_step": measurement.seconds[title],
    "disturbed_rounds": measurement.disturbed,
  }


def _ratios(record):
  seconds = record["seconds_per_step"]
  return {
    label: interleaved.compare(seconds[label], seconds["inner optimizer"])
    for label in (_LOOKAHEAD, _AGAIN)
  }


def _make_table(records):
  rows = [
    (
      "model",
      "inner",
      "execution",
      "step",
      "ms",
      *interleaved.RATIO_COLUMNS,
    )
  ]
  for record in records:
    start = (
      f"{record['model']}, {record['parameters'] / 1e6:.2f} M",
      record["inner"],
      record["mode"],
    )
    for label, ratio in _ratios(record).items():
      seconds = statistics.median(record["seconds_per_step"][label])
      rows.append((*start, label, f"{1000 * seconds:.1f}", *ratio.cells()))
  return (
    f"{results.make_table(rows)}\nRatio of a step to one with the inner "
    f"optimizer; goal: {_GOAL} at most. k = {_SYNC_PERIOD.value}, batches of "
    f"{_BATCH_SIZE.value}, {_ROUNDS.value} rounds of a period each. "
    f"{interleaved.describe_disturbance(records, _ROUNDS.value)}\n"
  )


def _draw(records, path):
  panels = {}
  for record in records:
    panels.setdefault(f"{record['model']}, {record['inner']}", []).append(
      ratio_chart.Group(
        record["mode"], _ratios(record), {f"goal, {_GOAL}": _GOAL}
      )
    )
  ratio_chart.draw(
    panels, path, "training step / without Lookahead", least_top=1.03
  )


def main(arguments: list[str]) -> None:
  """Measures, prints and draws."""
  if len(arguments) > 1:
    raise app.UsageError(f"Unknown arguments: {arguments[1:]}")
  run = results.describe_run(
    "benchmarks.training_step", ["lookahead-tf", "tensorflow", "keras"]
  )
  records = []
  for name, mode in itertools.product(_MODELS.value, _MODES.value):
    records.append(_time_case(name, mode))
    gc.collect()  # Models and compiled functions refer to each other.
    # After each case, so that none is lost by what becomes of the next.
    text = results.write(
      _WORKDIR.value, run, _make_table(records), {"time": records}
    )
    _draw(records, os.path.join(_WORKDIR.value, "ratios.png"))
  print(f"\n{text}\nWritten to {_WORKDIR.value}")


if __name__ == "__main__":
  flags.mark_flags_as_required(["workdir"])
  app.run(main)
