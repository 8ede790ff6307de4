"""The Transformer again, in NumPy: one sentence at a time, head by head."""

import keras
import numpy as np


class NumpyTransformer:
  """The model with the weights that a Keras model has now.

  Args:
    model: A `trainers.translation.model.Transformer`.
    architecture: Its sizes.
  """

  def __init__(self, model: keras.Model, architecture):
    # Without the model's own name.
    self._weights = {
      v.path.split("/", 1)[1]: np.array(v, "float64")
      for v in model.trainable_variables
    }
    self._heads, self._layers = (
      architecture.num_heads,
      architecture.num_layers,
    )

  def logits(self, source: list[int], target: list[int]) -> np.ndarray:
    """Returns (length of target, vocabulary size): after each prefix."""
    memory = self._embed(source)
    for i in range(self._layers):
      memory = self._block(f"encoder{i}", memory, None, is_causal=False)
    memory = self._norm("encoder_norm", memory)
    x = self._embed([0, *target[:-1]])
    for i in range(self._layers):
      x = self._block(f"decoder{i}", x, memory, is_causal=True)
    x = self._norm("decoder_norm", x)
    return x @ self._weights["embedding/matrix"].T

  def log_probabilities(self, source, target):
    """Returns the log-softmax of `logits`."""
    logits = self.logits(source, target)
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))

  def _embed(self, tokens):
    matrix = self._weights["embedding/matrix"]
    width = matrix.shape[1]
    half = width // 2
    rows = []
    for position, token in enumerate(tokens):
      vector = np.zeros(width) if token == 0 else matrix[token] * width**0.5
      for i in range(half):
        angle = position / 10_000 ** (i / (half - 1))
        vector[i] += np.sin(angle)
        vector[half + i] += np.cos(angle)
      rows.append(vector)
    return np.stack(rows)

  def _block(self, name, x, memory, is_causal):
    y = self._norm(f"{name}/self_norm", x)
    x = x + self._attention(f"{name}/self_attention", y, y, is_causal)
    if memory is not None:
      y = self._norm(f"{name}/memory_norm", x)
      x = x + self._attention(f"{name}/memory_attention", y, memory, False)
    y = self._norm(f"{name}/feed_forward_norm", x)
    inner = self._dense(f"{name}/feed_forward/inner", y)
    return x + self._dense(
      f"{name}/feed_forward/outer", np.where(inner > 0, inner, 0)
    )

  def _attention(self, name, x, memory, is_causal):
    queries, keys, values = (
      part @ self._weights[f"{name}/{kind}/kernel"]
      for part, kind in ((x, "query"), (memory, "key"), (memory, "value"))
    )
    size = x.shape[1] // self._heads
    read = np.zeros_like(x)
    for head in range(self._heads):
      columns = slice(head * size, (head + 1) * size)
      for i in range(len(x)):
        until = i + 1 if is_causal else len(memory)
        scores = keys[:until, columns] @ queries[i, columns] / size**0.5
        weights = np.exp(scores - scores.max())
        weights /= weights.sum()
        read[i, columns] = weights @ values[:until, columns]
    return read @ self._weights[f"{name}/output/kernel"]

  def _dense(self, name, x):
    return x @ self._weights[f"{name}/kernel"] + self._weights[f"{name}/bias"]

  def _norm(self, name, x):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    normal = (x - mean) / np.sqrt(variance + 1e-6)
    return (
      normal * self._weights[f"{name}/gamma"] + self._weights[f"{name}/beta"]
    )
