"""What does Lookahead add to a whole training step?

Times steps (forward, backward, optimizer) of two small models with Lookahead
and with its inner optimizer alone, in turn in one process. A second model with
the inner optimizer alone takes part too: how far its ratio is from 1 is what
the machine's noise does. One measurement is a period, with its
synchronization. Writes table.md, results.json and ratios.png.

Images are not of 32x32 pixels and 16 channels: tensors of a power of two share
sets of the cache with one another, or do not, by where XLA happens to put them,
and that moves the time of a step by more than what is to be measured here.

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
_ROUNDS = flags.DEFINE_integer("rounds", 40, "Of each.", lower_bound=1)
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
  "modes", ["graph", "xla"], ["graph", "xla"], "Execution."
)
_SYNC_PERIOD = flags.DEFINE_integer(
  "sync_period", 5, "Steps in a period.", lower_bound=1
)
_BATCH_SIZES = flags.DEFINE_multi_integer(
  "batch_sizes", [30, 60, 120], "Of both models.", lower_bound=1
)
_IMAGE_SIZE = flags.DEFINE_integer(
  "image_size", 30, "Height and width in pixels.", lower_bound=8
)
_WIDTH = flags.DEFINE_integer(
  "width", 15, "Channels of the first stage of the ResNet.", lower_bound=1
)

_GOAL = 1.01
_LOOKAHEAD, _INNER = "Lookahead", "inner optimizer"
_AGAIN = f"{_INNER} again (noise)"


def _resnet(batch_size):
  """A narrow ResNet for small images, with its inner optimizer and a batch."""
  config = ml_collections.ConfigDict(
    {
      "name": "cifar_resnet",
      "width": _WIDTH.value,
      "blocks_per_stage": (2, 2, 2, 2),
    }
  )
  shape = (_IMAGE_SIZE.value, _IMAGE_SIZE.value, 3)
  model = image_model.make_model(config, image_shape=shape, num_classes=10)
  random = np.random.default_rng(0)
  images = random.random((batch_size, *shape), "float32")
  return model, "sgd", images, random.integers(10, size=batch_size)


def _transformer(batch_size, vocabulary=2000, length=30, size=120):
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
    vocabulary, size=(batch_size, length), dtype="int32"
  )
  return model, "adam", batch, batch


_MAKERS = {"resnet": _resnet, "transformer": _transformer}


def _make_unit(name, mode, batch_size, sync_period):
  """Returns (description, function that trains and returns seconds a step)."""
  keras.utils.set_random_seed(0)
  model, inner, *batch = _MAKERS[name](batch_size)
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
    "batch_size": batch_size,
    "parameters": sum(v.numpy().size for v in model.trainable_variables),
  }
  return description, functools.partial(unit, _SYNC_PERIOD.value)


def _time_case(name, mode, batch_size):
  """Returns a record for results.json."""
  title = f"{name}, {mode}, {batch_size}"
  units = {}
  # In this order: both are neighbours of the reference in the middle.
  variants = {
    _LOOKAHEAD: _SYNC_PERIOD.value,
    _INNER: None,
    _AGAIN: None,
  }
  for label, period in tqdm.tqdm(
    variants.items(), desc=f"{title}: compile", leave=False
  ):
    description, units[label] = _make_unit(name, mode, batch_size, period)
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
    label: interleaved.compare(seconds[label], seconds[_INNER])
    for label in (_LOOKAHEAD, _AGAIN)
  }


def _added(record, label):
  """Returns the median of the seconds by which a step is longer."""
  seconds = record["seconds_per_step"]
  return statistics.median(
    a - b for a, b in zip(seconds[label], seconds[_INNER], strict=True)
  )


def _make_table(records):
  rows = [
    (
      "model",
      "inner",
      "execution",
      "batch",
      "step",
      "ms",
      "ms more",
      *interleaved.RATIO_COLUMNS,
    )
  ]
  for record in records:
    start = (
      f"{record['model']}, {record['parameters'] / 1e6:.2f} M",
      record["inner"],
      record["mode"],
      str(record["batch_size"]),
    )
    for label, ratio in _ratios(record).items():
      seconds = statistics.median(record["seconds_per_step"][label])
      times = f"{1000 * seconds:.1f}", f"{1000 * _added(record, label):.2f}"
      rows.append((*start, label, *times, *ratio.cells()))
  return (
    f"{results.make_table(rows)}\nRatio of a step to one with the inner "
    f"optimizer; goal: {_GOAL} at most. k = {_SYNC_PERIOD.value}, "
    f"{_ROUNDS.value} rounds of a period each. "
    f"{interleaved.describe_disturbance(records, _ROUNDS.value)}\n"
  )


def _draw(records, path):
  panels = {}
  for record in records:
    title = f"{record['model']}, {record['inner']}, {record['mode']}"
    panels.setdefault(title, []).append(
      ratio_chart.Group(
        f"batch {record['batch_size']}",
        _ratios(record),
        {f"goal, {_GOAL}": _GOAL},
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
  for case in itertools.product(
    _MODELS.value, _MODES.value, _BATCH_SIZES.value
  ):
    records.append(_time_case(*case))
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
