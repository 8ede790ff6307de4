"""What one replica does with a batch of images: training and evaluation."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from trainers import errors, metrics, optimizers
from trainers.image_classification.speedrun import WHITENING
from trainers.input import Input

TEST_TIME_AUGMENTATIONS = ("none", "mirror", "mirror_and_shift")


@dataclasses.dataclass(frozen=True)
class Objective:
  """What is minimized.

  Attributes:
    global_batch_size: Examples in a step over all replicas.
    mean: Subtracted from images in [0, 1]: one number, or one a channel.
    std: Divisor of the difference: one number, or one a channel.
    label_smoothing: Share of the target that is spread over all classes, in
      [0, 1).
    l2_penalty: Coefficient of half the squared norm of all parameters.
    whitening_bias_steps: Steps after which the bias of the layer `whitening`
      gets no gradient any more; None if the model has no such layer.
    test_time_augmentation: What an evaluation takes the mean over, one of
      TEST_TIME_AUGMENTATIONS.
  """

  global_batch_size: int
  mean: tuple[float, ...]
  std: tuple[float, ...]
  label_smoothing: float = 0.0
  l2_penalty: float = 0.0
  whitening_bias_steps: int | None = None
  test_time_augmentation: str = "none"


def make_train_step(
  model: keras.Model,
  optimizer: keras.optimizers.Optimizer,
  objective: Objective,
  clipping: optimizers.Clipping,
  *,
  replicas: int,
  jit_compile: bool,
) -> Callable[[tuple[tf.Tensor, tf.Tensor]], dict[str, tf.Tensor]]:
  """Returns one replica's training step.

  The step takes a batch (images, labels) of an ImagePipeline, updates the
  model, and returns the replica's share of the loss and the accuracy of the
  global batch, float32 scalars.

  Args:
    model: From `model.make_model`.
    optimizer: Built.
    objective: What is minimized.
    clipping: Applied to the gradients.
    replicas: Number of replicas.
    jit_compile: Whether XLA compiles the step.
  """
  frozen_bias = None
  if objective.whitening_bias_steps is not None:
    frozen_bias = model.get_layer(WHITENING).bias

  @tf.function(jit_compile=jit_compile, autograph=False)
  def train_step(batch):
    images, labels = batch
    images = normalize(images, objective)
    with tf.GradientTape() as tape:
      logits = model(images, training=True)
      losses = cross_entropy(logits, labels, objective.label_smoothing)
      # The optimizer sums gradients over replicas.
      loss = tf.reduce_sum(losses) / objective.global_batch_size
      penalty = l2_penalty(model, objective.l2_penalty) / replicas
      scaled = optimizer.scale_loss(loss + penalty)
    variables = model.trainable_variables
    gradients = tape.gradient(scaled, variables)
    for i, variable in enumerate(variables):
      if variable is frozen_bias:
        trains = optimizer.iterations < objective.whitening_bias_steps
        gradients[i] *= tf.cast(trains, gradients[i].dtype)
    optimizer.apply(clipping(gradients), variables)
    correct = tf.reduce_sum(metrics.is_correct(logits, labels))
    return {"loss": loss, "accuracy": correct / objective.global_batch_size}

  return train_step


def make_evaluation(
  model: keras.Model,
  optimizer: keras.optimizers.Optimizer,
  objective: Objective,
  validation: Input,
  strategy: tf.distribute.Strategy,
  *,
  jit_compile: bool,
) -> Callable[[], dict[str, float]]:
  """Returns a function that evaluates the model on every example of a split.

  The function returns the mean loss and accuracy over all examples, with the
  weights of `optimizers.weights_to_evaluate`: the slow weights of a Lookahead.

  Args:
    model: From `model.make_model`.
    optimizer: Built.
    objective: How images are normalized.
    validation: What to evaluate on.
    strategy: The strategy that the model was made for.
    jit_compile: Whether XLA compiles one replica's part.

  Raises:
    UserError: from the returned function, if an image cannot be read.
  """

  def measure(batch):
    images, labels, weights = batch
    logits = evaluation_logits(model, normalize(images, objective), objective)
    losses = cross_entropy(logits, labels)
    return losses, metrics.is_correct(logits, labels), weights

  means = metrics.make_means(
    measure, validation.examples(), strategy, jit_compile
  )

  def evaluate():
    with (
      optimizers.weights_to_evaluate(model, optimizer),
      errors.explaining_input(validation.find_unreadable),
    ):
      return means()

  return evaluate


def evaluation_logits(
  model: keras.Model, images: Any, objective: Objective
) -> Any:
  """Returns the logits of normalized images as an evaluation has them.

  Args:
    model: From `model.make_model`.
    images: From `normalize`, a tensor or a KerasTensor.
    objective: Has the augmentation.
  """
  return mean_logits(
    lambda images: model(images, training=False),
    images,
    objective.test_time_augmentation,
  )


def mean_logits(logits_of: Callable[[Any], Any], images: Any, kind: str) -> Any:
  """Returns the logits of images, the mean over what `kind` makes of them.

  Source: the evaluation of cifar10-airbench has "mirror_and_shift".

  Args:
    logits_of: A function of images: returns logits (batch, classes). It is
      called 1, 2 or 6 times.
    images: Float (batch, height, width, channels), a tensor or a KerasTensor.
    kind: One of TEST_TIME_AUGMENTATIONS. "mirror": the mean over the image and
      the mirrored image. "mirror_and_shift": half the weight is on that mean,
      and a quarter on that of the image shifted by a pixel up and left, and by
      a pixel down and right. Pixels that a shift leaves empty are reflected at
      the edge.

  Returns:
    Logits, float (batch, classes).
  """
  if kind == "none":
    return logits_of(images)

  def mirror(images):
    mirrored = keras.ops.flip(images, axis=2)
    return 0.5 * logits_of(images) + 0.5 * logits_of(mirrored)

  result = mirror(images)
  if kind == "mirror":
    return result
  height, width = images.shape[1:3]
  padded = keras.ops.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], "reflect")
  shifted = (
    padded[:, :height, :width],
    padded[:, 2 : 2 + height, 2 : 2 + width],
  )
  return 0.5 * result + 0.25 * sum(mirror(images) for images in shifted)


def normalize(images: tf.Tensor, objective: Objective) -> tf.Tensor:
  """Returns uint8 images as float32, scaled to [0, 1], minus mean, over std."""
  images = tf.cast(images, tf.float32) / 255.0
  return (images - tf.constant(objective.mean)) / tf.constant(objective.std)


def cross_entropy(
  logits: tf.Tensor, labels: tf.Tensor, label_smoothing: float = 0.0
) -> tf.Tensor:
  """Returns the cross entropy of each example, float32 of shape (batch,)."""
  classes = logits.shape[-1]
  targets = tf.one_hot(
    labels,
    classes,
    on_value=1.0 - label_smoothing + label_smoothing / classes,
    off_value=label_smoothing / classes,
  )
  return tf.nn.softmax_cross_entropy_with_logits(targets, logits)


def l2_penalty(model: keras.Model, coefficient: float) -> tf.Tensor:
  """Returns coefficient / 2 times the squared norm of all parameters.

  The gradient of the penalty is the `weight_decay` of PyTorch's SGD, which the
  paper's image experiments use: it goes through the momentum, and batch norm
  parameters and biases are not exempt.
  """
  if not coefficient:
    return tf.constant(0.0)
  return coefficient * tf.add_n(
    [tf.nn.l2_loss(v.value) for v in model.trainable_variables]
  )
