"""Searches over token sequences in plain Python, to compare with."""

import itertools
from collections.abc import Callable

import numpy as np

EOS = 1
# From the tokens so far to the log-probabilities of the next.
LogProbabilities = Callable[[tuple[int, ...]], np.ndarray]
Hypotheses = list[tuple[float, tuple[int, ...]]]


def score(log_probability: float, length: int, alpha: float) -> float:
  """Returns the score of a hypothesis, whose length counts its end."""
  return log_probability / ((5 + length) / 6) ** alpha


def beam_search(
  model: LogProbabilities, limit: int, size: int, alpha: float
) -> Hypotheses:
  """Returns (score, tokens) of up to `size` hypotheses, the best first."""
  alive, finished = [(0.0, ())], []
  for length in range(1, limit + 1):
    candidates = []
    for log_probability, tokens in alive:
      for token, value in enumerate(model(tokens)):
        if length < limit or token == EOS:
          candidates.append((log_probability + value, (*tokens, token)))
    candidates.sort(reverse=True)
    candidates = candidates[: 2 * size if size > 1 else 1]
    finished += [
      (score(value, length, alpha), tokens)
      for value, tokens in candidates
      if tokens[-1] == EOS
    ]
    finished = sorted(finished, reverse=True)[:size]
    alive = [c for c in candidates if c[1][-1] != EOS][:size]
    if not alive:
      break
    best = score(alive[0][0], limit, alpha)
    if len(finished) == size and best <= finished[-1][0]:
      break
  return finished


def every(
  model: LogProbabilities, vocabulary: int, limit: int, alpha: float
) -> Hypotheses:
  """Returns (score, tokens) of all sequences there are, the best first."""
  found = []
  words = [token for token in range(vocabulary) if token != EOS]
  for length in range(limit):
    for start in itertools.product(words, repeat=length):
      tokens = (*start, EOS)
      log_probability = sum(
        model(tokens[:i])[token] for i, token in enumerate(tokens)
      )
      found.append((score(log_probability, length + 1, alpha), tokens))
  return sorted(found, reverse=True)
