"""The AWD-LSTM in NumPy, a word at a time, with masks that it is given."""

from collections.abc import Mapping

import numpy as np

from trainers.language_modeling.model import AwdLstm


def _sigmoid(x):
  return 1 / (1 + np.exp(-x))


class NumpyAwdLstm:
  """The forward pass of a model.

  Args:
    model: Whose weights to take.
    masks: Arrays that are multiplied, by name: "words" (vocabulary size, 1),
      "inputs" (rows, width), "hidden0", ..., "outputs" likewise, "weights0",
      ... of a recurrent kernel's shape. What is missing is 1.
  """

  def __init__(self, model: AwdLstm, masks: Mapping[str, np.ndarray] = {}):
    self._weights = {
      v.path.removeprefix("awd_lstm/"): np.array(v, np.float64)
      for v in model.trainable_variables
    }
    self._masks = masks

  def __call__(self, tokens: np.ndarray, state=None):
    """Returns log probabilities, outputs, dropped outputs and the state.

    Args:
      tokens: Integers (rows, steps).
      state: From an earlier call, or None for zeros.

    Returns:
      Log probabilities (rows, steps, vocabulary size); outputs of the last
      layer before and after dropout, (rows, steps, width); the pair (h, c) of
      each layer.
    """
    layers = sum(name.endswith("/kernel") for name in self._weights)
    state = list(state or [None] * layers)
    rows, steps = tokens.shape
    logits, outputs, dropped = [], [], []
    for t in range(steps):
      table = self._weights["embedding"]
      x = (table * self._mask("words"))[tokens[:, t]] * self._mask("inputs")
      for i in range(layers):
        h, state[i] = self._step(i, x, state[i], rows)
        name = "outputs" if i == layers - 1 else f"hidden{i}"
        x = h * self._mask(name)
      outputs.append(h)
      dropped.append(x)
      logits.append(x @ table.T + self._weights["bias"])
    logits = np.stack(logits, 1)
    largest = logits.max(-1, keepdims=True)
    total = np.log(np.exp(logits - largest).sum(-1, keepdims=True)) + largest
    return logits - total, np.stack(outputs, 1), np.stack(dropped, 1), state

  def _mask(self, name):
    return np.asarray(self._masks.get(name, 1.0))

  def _step(self, layer, x, state, rows):
    kernel, recurrent, bias = (
      self._weights[f"lstm{layer}/{name}"]
      for name in ("kernel", "recurrent_kernel", "bias")
    )
    if state is None:
      state = (np.zeros((rows, len(recurrent))),) * 2
    h, c = state
    z = x @ kernel + h @ (recurrent * self._mask(f"weights{layer}")) + bias
    i, f, g, o = np.split(z, 4, axis=1)
    c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    h = _sigmoid(o) * np.tanh(c)
    return h, (h, c)
