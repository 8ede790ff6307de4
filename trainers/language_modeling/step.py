"""What one replica does with a segment: training and evaluation."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from trainers import metrics, optimizers
from trainers.input import Input
from trainers.language_modeling.model import AwdLstm
from trainers.language_modeling.regularization import Masks, Penalties, Rates
from trainers.language_modeling.state import CarriedState, RateFactors

Batch = Mapping[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Objective:
  """What is minimized, and how.

  Attributes:
    bptt: The usual length of a segment, at which the learning rate is as it is.
    rates: Of what is dropped.
    penalties: Of the last layer's outputs.
    seed: Of the masks, in [0, 2**32).
  """

  bptt: int
  rates: Rates
  penalties: Penalties
  seed: int


def make_train_step(
  model: AwdLstm,
  optimizer: keras.optimizers.Optimizer,
  objective: Objective,
  clipping: optimizers.Clipping,
  state: CarriedState,
  factors: RateFactors,
  lengths: Sequence[int],
  *,
  replicas: int,
  jit_compile: bool,
  jit_compile_loss: bool,
) -> Callable[[Batch], dict[str, tf.Tensor]]:
  """Returns one replica's training step.

  The step takes a batch of a TrainingPipeline, updates the model and the
  carried state, and returns the replica's share of the loss and the accuracy of
  the words of all columns, and the number of its own, float32 scalars. The loss
  is the cross entropy in nats, without the penalties.

  The learning rate of the update is that of the optimizer times the words of
  the segment over `bptt`, as in the reference implementation.

  Args:
    model: From `model.make_model`.
    optimizer: Built. Its learning rate has the factor `factors.length`.
    objective: What is minimized.
    clipping: Applied to the gradients.
    state: Of training.
    factors: Of the learning rate.
    lengths: Of segments, increasing. Each has a part of the program with static
      shapes; a segment of another length takes the next longer one.
    replicas: Number of replicas.
    jit_compile: Whether XLA compiles the step.
    jit_compile_loss: Whether XLA compiles the cross entropy, in a step that it
      does not compile.
  """
  differentiate = _make_differentiate(
    model,
    optimizer,
    objective,
    _make_cross_entropy(jit_compile_loss),
    replicas,
  )

  @tf.function(jit_compile=jit_compile, autograph=False)
  def train_step(batch):
    size = batch["size"]
    before = state.read(batch["is_first"], model.compute_dtype)
    # Replicas meet behind this: they cannot within a branch.
    loss, accuracy, after, gradients = tf.switch_case(
      tf.reduce_sum(tf.cast(size > lengths[:-1], tf.int32)),
      [
        functools.partial(differentiate, batch, before, length)
        for length in lengths
      ],
    )
    gradients = clipping(gradients)
    factors.length.assign(tf.cast(size, tf.float32) / objective.bptt)
    optimizer.apply(gradients, model.trainable_variables)
    factors.length.assign(1.0)
    state.write(after)
    words = size * batch["tokens"].shape[0]
    return {
      "loss": loss,
      "accuracy": accuracy,
      "words": tf.cast(words, tf.float32),
    }

  return train_step


def _make_differentiate(model, optimizer, objective, cross_entropy, replicas):
  """Returns a function that differentiates the loss of a segment.

  The function takes a batch, the state before the batch, and the length of its
  program, a constant. It returns the replica's shares of loss and accuracy, the
  state behind the batch, and the gradients.
  """

  def differentiate(batch, before, length):
    tokens = tf.transpose(batch["tokens"][:, : length + 1])
    rows, size = tokens.shape[1], batch["size"]
    is_word = tf.cast(tf.range(length) < size, tf.float32)
    weights = tf.repeat(is_word, rows)
    words = tf.cast(size * rows * replicas, tf.float32)
    masks = Masks(objective.rates, objective.seed, batch["step"], replicas)
    with tf.GradientTape() as tape:
      made = model.run(tokens[:-1], before, masks)
      targets = tf.reshape(tokens[1:], [-1])
      losses = cross_entropy(targets, made.logits)
      # The optimizer sums gradients over replicas.
      loss = tf.reduce_sum(losses * weights) / words
      penalty = objective.penalties(made.outputs, made.dropped, size)
      scaled = optimizer.scale_loss(loss + penalty / replicas)
    correct = metrics.is_correct(made.logits, targets) * weights
    return (
      loss,
      tf.reduce_sum(correct) / words,
      made.state,
      tape.gradient(scaled, model.trainable_variables),
    )

  return differentiate


def make_perplexity(
  model: AwdLstm,
  text: Input,
  state: CarriedState,
  strategy: tf.distribute.Strategy,
  *,
  jit_compile: bool,
) -> Callable[[], dict[str, float]]:
  """Returns a function that evaluates the weights that the model has then.

  The function returns the mean loss, the cross entropy in nats of all words and
  ends of lines, the accuracy, and the perplexity, which is e to the loss.

  Args:
    model: From `model.make_model`.
    text: What to evaluate on, of EvaluationPipelines.
    state: Of this evaluation, for the columns of `text`.
    strategy: The strategy that the model was made for.
    jit_compile: Whether XLA compiles one replica's part.
  """

  def measure(batch):
    tokens = tf.transpose(batch["tokens"])
    before = state.read(batch["is_first"], model.compute_dtype)
    made = model.run(tokens[:-1], before)
    state.write(made.state)
    targets = tf.reshape(tokens[1:], [-1])
    # TensorFlow's cross entropy computes its gradient too: three times as long.
    losses = tf.reduce_logsumexp(made.logits, axis=-1) - tf.gather(
      made.logits, targets, batch_dims=1
    )
    correct = metrics.is_correct(made.logits, targets)
    return losses, correct, tf.reshape(tf.transpose(batch["weights"]), [-1])

  means = metrics.make_means(measure, text.examples(), strategy, jit_compile)

  def perplexity():
    values = means()
    # Beyond that there are no floats.
    return {**values, "perplexity": math.exp(min(values["loss"], 700.0))}

  return perplexity


def _make_cross_entropy(jit_compile):
  """Returns a function of targets and logits, float32 of the targets' shape."""
  function = tf.nn.sparse_softmax_cross_entropy_with_logits
  # By XLA it goes over the logits, the largest tensor of the step, in half the
  # time.
  return tf.function(function, jit_compile=True) if jit_compile else function
