"""Writes checkpoints of TensorFlow Addons' Lookahead, and what comes after.

TensorFlow Addons has ended and needs an environment of its own, with Keras 2:

  python3.11 -m venv /tmp/tfa
  /tmp/tfa/bin/pip install tensorflow==2.15.1 tensorflow-addons==0.23.0 \
    "numpy<2"
  /tmp/tfa/bin/python make.py

Into the directory of this file it writes, for each case in INNER_OPTIMIZERS,

  <case>/ckpt-1.*   tf.train.Checkpoint(model=..., optimizer=...).save
  <case>/weights.*  model.save_weights in the format of TensorFlow

after STEPS_BEFORE steps, which is in the middle of a period, and expected.npz:

  x, y                        batches, one for each step
  <case>/before/<variable>    weights of the model in the checkpoints
  <case>/slow/<variable>      slow weights in the checkpoints
  <case>/after/<variable>     weights of the model after all steps

where <variable> is hidden/kernel, hidden/bias, out/kernel or out/bias.
"""

import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

DIRECTORY = pathlib.Path(__file__).resolve().parent
STEPS_BEFORE = 5
STEPS_AFTER = 7
SYNC_PERIOD = 3
SLOW_STEP_SIZE = 0.5
INNER_OPTIMIZERS = {
  "sgd": lambda: tf.keras.optimizers.legacy.SGD(0.05, momentum=0.9),
  "adam": lambda: tf.keras.optimizers.legacy.Adam(0.05),
  "radam": lambda: tfa.optimizers.RectifiedAdam(0.05),
  "radam_warmup": lambda: tfa.optimizers.RectifiedAdam(
    0.05,
    beta_2=0.9,
    amsgrad=True,
    weight_decay=0.1,
    total_steps=20,
    warmup_proportion=0.4,
    min_lr=0.001,
  ),
}


def make_data():
  """Returns a batch of inputs and one of targets for each step."""
  rng = np.random.default_rng(0)
  steps = STEPS_BEFORE + STEPS_AFTER
  x = rng.normal(size=(steps, 8, 3)).astype(np.float32)
  y = rng.normal(size=(steps, 8, 1)).astype(np.float32)
  return x, y


def make_model(inner_optimizer):
  """Returns a compiled model with fixed initial weights."""
  tf.keras.utils.set_random_seed(0)
  model = tf.keras.Sequential(
    [
      tf.keras.Input((3,)),
      tf.keras.layers.Dense(2, name="hidden"),
      tf.keras.layers.Dense(1, name="out"),
    ]
  )
  optimizer = tfa.optimizers.Lookahead(
    inner_optimizer, sync_period=SYNC_PERIOD, slow_step_size=SLOW_STEP_SIZE
  )
  model.compile(optimizer=optimizer, loss="mse")
  return model


def values(variables, names):
  """Returns {name: value}, the names without the ":0" of TensorFlow."""
  names = [name.removesuffix(":0") for name in names]
  return {name: v.numpy() for name, v in zip(names, variables)}


def make_case(case, inner_optimizer, x, y):
  """Trains, writes the checkpoints of a case and returns its arrays."""
  model = make_model(inner_optimizer)
  weights, optimizer = model.trainable_variables, model.optimizer
  names = [weight.name for weight in weights]
  for step in range(STEPS_BEFORE):
    model.train_on_batch(x[step], y[step])
  directory = DIRECTORY / case
  checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer)
  checkpoint.save(str(directory / "ckpt"))
  model.save_weights(str(directory / "weights"))
  # Names the latest checkpoint, which here is the last that was written.
  (directory / "checkpoint").unlink()
  arrays = {
    "before": values(weights, names),
    "slow": values([optimizer.get_slot(w, "slow") for w in weights], names),
  }
  for step in range(STEPS_BEFORE, STEPS_BEFORE + STEPS_AFTER):
    model.train_on_batch(x[step], y[step])
  arrays["after"] = values(weights, names)
  return {
    f"{case}/{moment}/{name}": value
    for moment, by_name in arrays.items()
    for name, value in by_name.items()
  }


def main():
  """Writes all files."""
  x, y = make_data()
  arrays = {"x": x, "y": y}
  for case, make_inner_optimizer in INNER_OPTIMIZERS.items():
    arrays |= make_case(case, make_inner_optimizer(), x, y)
  np.savez_compressed(DIRECTORY / "expected.npz", **arrays)


if __name__ == "__main__":
  main()
