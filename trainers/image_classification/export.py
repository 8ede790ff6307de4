r"""Exports a trained run: a model that other programs load, from photos on.

python -m trainers.image_classification.export --workdir=runs/mine \
    --output=serving/mine/1

writes a saved model, which needs TensorFlow alone. The Keras files that a run
leaves, best.keras and model.keras, are made here too.
"""

import keras
import numpy as np
import tensorflow as tf
from absl import flags
from keras import layers, ops

from trainers import devices
from trainers import flags as flags_lib
from trainers import trained as shared
from trainers.image_classification import trained
from trainers.image_classification.experiment import Experiment
from trainers.image_classification.fast_layers import with_layers_of_keras
from trainers.image_classification.pipelines import KINDS
from trainers.image_classification.pixels import Cut
from trainers.image_classification.step import evaluation_logits, normalize


def make_keras_model(model: keras.Model, experiment: Experiment) -> keras.Model:
  """Returns a model from pixels of any size to probabilities and names.

  It has layers and operations of Keras alone. Its input is a batch (images,
  height, width, channels) of pixels from 0 to 255, of any dtype. Images are
  resized, cropped and normalized as for an evaluation. Its outputs are
  "probabilities", float32 (images, classes), and "class_name", the likeliest
  class of each image, a string. The layer "class_name" has all names, in the
  order of the probabilities, as its vocabulary.

  Args:
    model: With the weights; they are copied.
    experiment: Experiment of the run.
  """
  inputs = keras.Input(
    (None, None, experiment.source.channels), dtype="float32", name="image"
  )
  plain = with_layers_of_keras(model)
  logits = evaluation_logits(
    plain, _prepared(inputs, experiment), experiment.objective
  )
  probabilities = layers.Softmax(dtype="float32", name="probabilities")(logits)
  name_of = layers.StringLookup(
    vocabulary=list(experiment.source.class_names),
    invert=True,
    num_oov_indices=0,
    oov_token="\n",  # It must be no class.
    name="class_name",
  )
  return keras.Model(
    inputs,
    {
      "class_name": name_of(ops.argmax(probabilities, axis=-1)),
      "probabilities": probabilities,
    },
    name="classifier",
  )


def _prepared(images, experiment):
  """Returns images as the model takes them: cut, and normalized by layers."""
  cut, objective = experiment.batching.cut, experiment.objective
  make = {"small_images": _central_square, "large_images": _central_crop}
  images = make[experiment.pipeline](images, cut)
  images = layers.Rescaling(1 / 255, dtype="float32")(images)
  channels = images.shape[-1]
  return layers.Normalization(
    mean=np.broadcast_to(objective.mean, channels).tolist(),
    variance=np.square(np.broadcast_to(objective.std, channels)).tolist(),
    dtype="float32",
  )(images)


def _central_square(images, cut: Cut):
  """Returns the `pixels.central_square` of each image of a batch."""
  # An operation, since Keras' layer Resizing has training=True as its default:
  # in a plain call of the model the layers after it would take that for theirs.
  images = ops.image.resize(
    images, (cut.image_size,) * 2, antialias=True, crop_to_aspect_ratio=True
  )
  return ops.clip(ops.round(images), 0, 255)


def _central_crop(images, cut: Cut):
  """Returns the `pixels.central_crop` of each image of a batch."""
  crop = cut.image_size
  # Height and width are not known before there is an image: pixels are counted.
  ones = ops.ones_like(images[0, :, :, 0])
  size = ops.stack([ops.sum(ones[:, 0]), ops.sum(ones[0])])
  resized = ops.floor(cut.eval_resize * size / ops.min(size))
  corner = ops.round((resized - crop) / 2)
  images = ops.image.scale_and_translate(
    images,
    (None, crop, crop, images.shape[-1]),
    scale=resized / size,
    translation=-corner,
    spatial_dims=(1, 2),
    method="linear",
    antialias=cut.antialias,
  )
  return ops.floor(images + 0.5)


class Served(tf.Module):
  """Signatures of a saved model, and the variables that they need.

  Attributes:
    class_names: Names of the labels 0, 1, ..., strings.

  Args:
    loaded: A trained run.
  """

  def __init__(self, loaded: trained.Trained):
    super().__init__(name="image_classification")
    experiment = loaded.experiment
    channels = experiment.source.channels
    cut, objective = experiment.batching.cut, experiment.objective
    read = KINDS[experiment.pipeline].read
    whole = make_keras_model(loaded.model, experiment)
    model = whole.get_layer(loaded.model.name)
    of_pixels = keras.Model(whole.input, whole.output["probabilities"])
    self._variables = [v.value for v in model.variables]
    names = list(experiment.source.class_names)
    self.class_names = tf.Variable(names, trainable=False)

    def answers(probabilities):
      images = tf.shape(probabilities)[0]
      return {
        "class_name": tf.gather(names, tf.argmax(probabilities, axis=-1)),
        "class_names": tf.repeat([names], images, axis=0),
        "probabilities": probabilities,
      }

    @tf.function(
      input_signature=[tf.TensorSpec([None], tf.string, name="images")],
      autograph=False,
    )
    def classify(images):
      size = cut.image_size
      cuts = tf.map_fn(
        lambda data: read(data, channels, cut),
        images,
        fn_output_signature=tf.TensorSpec((size, size, channels), tf.uint8),
      )
      logits = evaluation_logits(model, normalize(cuts, objective), objective)
      return answers(tf.nn.softmax(logits))

    @tf.function(
      input_signature=[
        tf.TensorSpec([None, None, None, channels], tf.float32, name="images")
      ],
      autograph=False,
    )
    def classify_pixels(images):
      return answers(of_pixels(images, training=False))

    self.classify, self.classify_pixels = classify, classify_pixels


def export(run: devices.Runtime, output: str, *, weights: str = "best") -> None:
  """Writes the model of a run as a saved model.

  Its signature "serving_default" takes "images", the contents of image files,
  strings (any number,); "pixels" takes "images", float32 (any number, height,
  width, channels) from 0 to 255. Both return "class_name", strings (number,),
  "probabilities", float32 (number, classes), and "class_names", strings of the
  same shape, which repeat the names for each image.

  Args:
    run: Where the trained run is.
    output: The directory to write, which must not be there. TensorFlow Serving
      wants a number as its name, the version.
    weights: As for `trained.load`.

  Raises:
    UserError: for what the user can put right.
  """
  output = shared.check_new_directory(output)
  loaded = trained.load(run, weights)
  if not run.is_chief:
    return
  served = Served(loaded)
  signatures = {
    "serving_default": served.classify,
    "pixels": served.classify_pixels,
  }
  shared.save_module(served, signatures, output)
  print(f"{output}: a saved model ({loaded.weights})")


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of this program."""
  trained.define_flags(
    values, "The directory to write, which must not be there, such as mine/1."
  )


def main(values: flags.FlagValues) -> None:
  """Exports as the flags say."""
  export(flags_lib.make_runtime(values), values.output, weights=values.weights)


if __name__ == "__main__":
  flags_lib.run(main, define_flags)
