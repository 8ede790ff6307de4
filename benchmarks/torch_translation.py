"""Training steps of PyTorch's own Transformer, for peer_worker.py to time."""

import math
import time
from collections.abc import Callable

import torch
from torch import nn


class Translator(nn.Module):
  """`nn.Transformer` with what it lacks: embeddings, positions, a softmax.

  One matrix is the embedding of both languages and the softmax, as in ours.

  Args:
    vocabulary_size: Number of tokens.
    length: Tokens of a sentence.
    width: Of the layers.
    heads: Of attention.
    layers: Of the encoder, and of the decoder.
    inner_width: Of the feed-forward layers.
    dropout: After sublayers, within feed-forward layers, of attention weights.
  """

  def __init__(
    self, vocabulary_size, length, width, heads, layers, inner_width, dropout
  ):
    super().__init__()
    self.embedding = nn.Embedding(vocabulary_size, width, padding_idx=0)
    nn.init.normal_(self.embedding.weight, std=width**-0.5)
    self.transformer = nn.Transformer(
      width,
      heads,
      layers,
      layers,
      inner_width,
      dropout,
      batch_first=True,
      norm_first=True,
    )
    self.dropout = nn.Dropout(dropout)
    rates = torch.exp(torch.linspace(0, -math.log(1e4), width // 2))
    angles = torch.arange(length)[:, None] * rates
    self.register_buffer("signal", torch.cat([angles.sin(), angles.cos()], 1))
    mask = nn.Transformer.generate_square_subsequent_mask(length)
    self.register_buffer("mask", mask)

  def _embed(self, tokens):
    scale = self.embedding.embedding_dim**0.5
    return self.dropout(self.embedding(tokens) * scale + self.signal)

  def forward(self, source, inputs):
    """Returns logits (batch, length, vocabulary) of int64 (batch, length)."""
    output = self.transformer(
      self._embed(source),
      self._embed(inputs),
      tgt_mask=self.mask,
      tgt_is_causal=True,
    )
    return output @ self.embedding.weight.T


def make_runner(
  sizes: dict[str, int | float],
  batch_size: int,
  label_smoothing: float,
  threads: int,
) -> Callable[[int], float]:
  """Returns a function that trains, and returns the seconds of a step.

  Its argument is the number of steps; the time is their mean. Every token is
  text, none is padding, and so no mask is needed but the decoder's.

  Args:
    sizes: Arguments of `Translator`.
    batch_size: Sentences in a step.
    label_smoothing: Of the loss.
    threads: That an operation may use.
  """
  torch.set_num_threads(threads)
  torch.manual_seed(0)
  model = Translator(**sizes)
  shape = (batch_size, sizes["length"])
  source, target = torch.randint(3, sizes["vocabulary_size"], (2, *shape))
  inputs = nn.functional.pad(target[:, :-1], (1, 0))
  criterion = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
  optimizer = torch.optim.Adam(
    model.parameters(), lr=0.001, betas=(0.9, 0.997), fused=True
  )

  def run(steps):
    started = time.perf_counter()
    for _ in range(steps):
      optimizer.zero_grad()
      logits = model(source, inputs)
      criterion(logits.flatten(0, 1), target.flatten()).backward()
      optimizer.step()
    return (time.perf_counter() - started) / steps

  return run
