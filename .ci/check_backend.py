"""Trains with the installed package on one backend: check_backend.py.

KERAS_BACKEND names the backend. Run outside of the repository, in an
environment that has the package, this backend and no other.
"""

import importlib.util
import pathlib
import tempfile

import keras
import numpy as np

import lookahead_tf

backend = keras.backend.backend()
for other in {"tensorflow", "jax", "torch"} - {backend}:
  assert importlib.util.find_spec(other) is None, f"{other} is here too"

x = np.random.default_rng(0).uniform(-1, 1, (640, 2)).astype("float32")
y = (np.linalg.norm(x, axis=1) < 0.8).astype("float32")
keras.utils.set_random_seed(0)
model = keras.Sequential(  # Without Input: built by the first step.
  [
    keras.layers.Dense(32, activation="relu"),
    keras.layers.Dense(1, activation="sigmoid"),
  ]
)
model.compile(
  lookahead_tf.Lookahead(keras.optimizers.Adam(0.02)),
  loss="binary_crossentropy",
  metrics=["accuracy"],
)
swap = lookahead_tf.SwapSlowWeights()
history = model.fit(
  x, y, validation_split=0.25, epochs=20, verbose=0, callbacks=[swap]
).history
assert history["val_accuracy"][-1] > 0.9, history["val_accuracy"]

# In the middle of a period: 300 updates, then 3.
for _ in range(3):
  model.train_on_batch(x[:32], y[:32])
assert int(model.optimizer.iterations) == 303
fast = model.predict(x, verbose=0)
with lookahead_tf.slow_weights(model):
  slow = model.predict(x, verbose=0)
assert np.abs(fast - slow).max() > 1e-4
np.testing.assert_array_equal(model.predict(x, verbose=0), fast)

with tempfile.TemporaryDirectory() as folder:
  path = pathlib.Path(folder) / "model.keras"
  model.save(path)
  again = keras.models.load_model(path)
for _ in range(3):  # Over the end of the period.
  model.train_on_batch(x[:32], y[:32])
  again.train_on_batch(x[:32], y[:32])
np.testing.assert_allclose(
  again.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6
)
print(
  f"{backend}: trained, saved, loaded and swapped by Keras "
  f"{keras.version()}, lookahead-tf {lookahead_tf.__version__}"
)
