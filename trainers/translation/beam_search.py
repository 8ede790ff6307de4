"""Beam search with fixed shapes, for any model, and with a Transformer."""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainers import tracing
from trainers.translation.model import Transformer

_NEVER = -1e9  # The log-probability, or score, of what there is not.

# (index, tokens, ancestors, state) -> (logits, state); see `beam_search`.
Step = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, Any], tuple[tf.Tensor, Any]]


@dataclasses.dataclass(frozen=True)
class Beam:
  """How to search.

  Attributes:
    size: Hypotheses kept for each sentence; 1 is the greedy search.
    length_penalty: alpha of Wu et al. 2016, equation 14: hypotheses are ranked
      by their log-probability over ((5 + length) / 6)^alpha, where the length
      counts the end of sentence.
    eos_id: The token that ends a sentence.
    start_id: What the first step gets as its token.
  """

  size: int
  length_penalty: float
  eos_id: int = 1
  start_id: int = 0


def beam_search(
  step: Step, state: Any, limits: tf.Tensor, longest: int, beam: Beam
) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns the hypotheses that the search finds, the best first.

  The search is tensor2tensor's. Each step looks at the 2 `size` likeliest
  continuations. Continuations that end join the finished hypotheses, of which
  the `size` with the best scores stay. The `size` likeliest of the others go
  on. The search ends when no hypothesis that goes on can still get a better
  score than the worst finished one. A sentence at its limit must end there.

  A hypothesis may go on in another slot than that of its first tokens. `step`
  gets the slots, so it need not move what it has kept of earlier steps.

  Args:
    step: A function of
      - index, an int32 scalar: 0, 1, ...
      - tokens, int32 (sentences, size): each hypothesis' last token,
      - ancestors, int32 (sentences, size, longest): in which slot the token of
        hypothesis k at each index up to this one was given to `step`,
      - the state,
      which returns logits (sentences, size, vocabulary), floats, of the next
      token, and the state.
    state: The first state, a nest of tensors that keep their shapes.
    limits: int32 (sentences,), how many tokens a hypothesis may have, with the
      end of sentence, from 1 to `longest`.
    longest: Length of the results.
    beam: How to search.

  Returns:
    Tokens, int32 (sentences, size, longest), with the end of sentence and 0
    after it; and their scores, float32 (sentences, size).
  """
  search = _Search(step, limits, longest, beam)
  _, _, alive, finished = tf.while_loop(
    search.goes_on,
    search.advance,
    (tf.constant(0), state, *search.start()),
    maximum_iterations=longest,
  )
  del alive  # All have ended: their limits made them.
  return finished[0], finished[1]


class _Search:
  """The loop of a search over some sentences.

  Its hypotheses are alive (tokens, log-probabilities, ancestors) or finished
  (tokens, scores): tokens and ancestors are int32 (sentences, size, longest),
  the others float32 (sentences, size).
  """

  def __init__(self, step, limits, longest, beam):
    self._step, self._limits, self._longest = step, limits, longest
    self._beam = beam
    sentences = limits.shape[0] or tf.shape(limits)[0]
    self._shape = (sentences, beam.size, longest)

  def start(self):
    """Returns the alive and the finished hypotheses before the first step."""
    empty = tf.zeros(self._shape, tf.int32)
    never = tf.fill(self._shape[:2], _NEVER)
    # All slots begin alike, so one of them is enough.
    is_first = tf.range(self._beam.size) == 0
    log_probs = tf.where(is_first, 0.0, never)
    return (empty, log_probs, empty), (empty, never)

  def goes_on(self, index, state, alive, finished):
    """Whether any sentence may still find a better hypothesis."""
    del state
    # Log-probabilities only fall; the greatest penalty divides them best.
    best = alive[1][:, 0] / self._penalty(self._limits)
    worst = tf.reduce_min(finished[1], axis=1)
    return tf.reduce_any((best > worst) & (index < self._limits))

  def advance(self, index, state, alive, finished):
    """Returns the loop's variables after one more token."""
    tokens, log_probs, ancestors = alive
    size, longest = self._beam.size, self._longest
    last = tokens[:, :, tf.maximum(index - 1, 0)]
    last = tf.where(index == 0, self._beam.start_id, last)
    here = tf.range(longest) == index
    own = tf.range(size)[:, tf.newaxis]
    ancestors = tf.where(here, own, ancestors)
    logits, state = self._step(index, last, ancestors, state)
    found, slots, words = self._continuations(index, log_probs, logits)
    tokens = tf.where(here, words[:, :, tf.newaxis], _take(tokens, slots))
    ends = words == self._beam.eos_id
    finished = self._finish(index, tokens, found, ends, finished)
    log_probs, kept = tf.math.top_k(tf.where(ends, _NEVER, found), size)
    alive = (
      _take(tokens, kept),
      log_probs,
      _take(ancestors, _take(slots, kept)),
    )
    return index + 1, state, alive, finished

  def _continuations(self, index, log_probs, logits):
    """Returns log-probabilities, slots and tokens of likely continuations."""
    size, vocabulary = self._beam.size, logits.shape[-1]
    # A slot has one continuation that ends, so at least `size` of 2 * `size` go
    # on. The greedy search is over when its one hypothesis ends.
    count = 2 * size if size > 1 else 1
    logits = tf.cast(logits, tf.float32)
    # At most `count` continuations of one slot are among the likeliest of all.
    values, words = tf.math.top_k(logits, min(count, vocabulary))
    # At its limit, a sentence has one continuation: to end.
    must_end = (index + 1 >= self._limits)[:, tf.newaxis, tf.newaxis]
    eos_id = self._beam.eos_id
    values = tf.where(must_end, logits[:, :, eos_id : eos_id + 1], values)
    words = tf.where(must_end, eos_id, words)
    found = log_probs[:, :, tf.newaxis] + values
    found -= tf.reduce_logsumexp(logits, axis=-1, keepdims=True)
    is_first = tf.range(words.shape[-1]) == 0
    found = tf.where(must_end & ~is_first, _NEVER, found)
    per_slot = words.shape[-1]
    rows = (self._shape[0], size * per_slot)
    found, places = tf.math.top_k(tf.reshape(found, rows), count)
    words = tf.gather(tf.reshape(words, rows), places, batch_dims=1)
    return found, places // per_slot, words

  def _finish(self, index, tokens, found, ends, finished):
    """Returns the best finished hypotheses, with those that end now."""
    scores = tf.where(ends, found / self._penalty(index + 1), _NEVER)
    # A slot without a hypothesis does not get one by an end of sentence.
    scores = tf.where(found > _NEVER / 2, scores, _NEVER)
    scores = tf.concat([finished[1], scores], axis=1)
    tokens = tf.concat([finished[0], tokens], axis=1)
    scores, kept = tf.math.top_k(scores, self._beam.size)
    return _take(tokens, kept), scores

  def _penalty(self, length):
    ratio = (5.0 + tf.cast(length, tf.float32)) / 6.0
    return ratio**self._beam.length_penalty


def _take(values, slots):
  """Returns the hypotheses in `slots` (sentences, n) of each sentence."""
  return tf.gather(values, slots, batch_dims=1)


def make_decoder(
  model: Transformer, beam: Beam, extra_length: int, jit_compile: bool
) -> Callable[[tf.Tensor], tf.Tensor]:
  """Returns a function from source tokens to target tokens.

  The function is traced once for each shape. Keys and values of the encoder are
  made once for all hypotheses of a sentence. Keys and values of the decoder
  stay where they were written, and a mask tells whose they are.

  Args:
    model: The model.
    beam: How to search.
    extra_length: A translation has at most so many tokens more than its source,
      the ends of both counted.
    jit_compile: Whether to compile with XLA.

  Returns:
    A function of int32 (sentences, length) that are filled up with 0, which
    returns int32 (sentences, length + extra_length), likewise.
  """

  @tf.function(jit_compile=jit_compile, autograph=False)
  def decode(source):
    return search(model, source, beam, extra_length)[0][:, 0]

  return tracing.concrete(decode)


def search(
  model: Transformer, source: tf.Tensor, beam: Beam, extra_length: int
) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns all hypotheses and their scores, as `beam_search` does.

  Args:
    model: The model.
    source: int32 (sentences, length), a sentence a row, then 0.
    beam: How to search.
    extra_length: As in `make_decoder`.
  """
  is_token = source != 0
  sentences, length = (
    fixed or tf.shape(source)[axis] for axis, fixed in enumerate(source.shape)
  )
  longest = length + extra_length
  lengths = tf.reduce_sum(tf.cast(is_token, tf.int32), axis=1)
  # Rows that only fill up the batch end at once, so that none waits for them.
  limits = tf.where(lengths > 0, lengths + extra_length, 1)
  memory = model.encode(
    source, tf.cast(is_token, tf.int32), tf.range(length)[tf.newaxis]
  )
  memory = model.project_memory(memory)
  memory_mask = is_token[:, tf.newaxis]

  def step(index, tokens, ancestors, cache):
    mask = _ancestor_mask(index, ancestors, beam.size)
    return model.step(
      tokens, index, index * beam.size, mask, cache, memory, memory_mask
    )

  return beam_search(
    step,
    model.empty_cache(sentences, longest * beam.size),
    limits,
    longest,
    beam,
  )


def _ancestor_mask(index, ancestors, size):
  """Returns which keys and values of the cache each hypothesis reads.

  The cache holds the keys and values of all slots at index 0, then at index 1,
  and so on.

  Args:
    index: The present one.
    ancestors: int32 (sentences, size, longest), of `beam_search`.
    size: That of the beam.

  Returns:
    Booleans (sentences, size, longest * size).
  """
  longest = tf.shape(ancestors)[2]
  is_past = tf.range(longest)[:, tf.newaxis] <= index
  is_own = ancestors[..., tf.newaxis] == tf.range(size)
  return tf.reshape(is_past & is_own, (-1, size, longest * size))
