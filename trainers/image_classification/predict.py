r"""Classifies photos with a trained run.

python -m trainers.image_classification.predict --workdir=runs/mine \
    --input=PHOTO_OR_FOLDER [--output=FILE.csv]

prints the likeliest classes of each photo with their probabilities. --output is
a table of all probabilities for spreadsheets and programs.
"""

import csv
import dataclasses
import io

import numpy as np
import tensorflow as tf
import tqdm
from absl import flags

from trainers import devices, errors, files
from trainers import flags as flags_lib
from trainers import trained as shared
from trainers.errors import UserError
from trainers.image_classification import image_folder, splits, trained
from trainers.image_classification.pipelines import KINDS
from trainers.image_classification.step import evaluation_logits, normalize
from trainers.input import Input

_CLASSES_TOLD = 3


@dataclasses.dataclass(frozen=True)
class Predictions:
  """What the photos are.

  Attributes:
    paths: Paths of the photos, sorted.
    class_names: Names of the classes.
    probabilities: float32 of shape (photos, classes).
    weights: Which weights of the run made the predictions, for people.
  """

  paths: list[str]
  class_names: tuple[str, ...]
  probabilities: np.ndarray
  weights: str

  def likeliest(self, number: int) -> list[tuple[str, float]]:
    """Returns the classes of a photo, the likeliest first, as pairs.

    Args:
      number: Of the photo in `paths`.
    """
    row = self.probabilities[number]
    order = np.argsort(-row, kind="stable")
    return [(self.class_names[i], float(row[i])) for i in order]


def predict(
  run: devices.Runtime, input_path: str, *, weights: str = "best"
) -> Predictions:
  """Classifies a photo, or all photos in a folder and in its folders.

  Photos are read, resized and cropped as for the run's evaluation.

  Args:
    run: Where the trained run is, and what to use now.
    input_path: A file of any name, or a folder.
    weights: As for `trained.load`.

  Raises:
    UserError: for what the user can put right.
  """
  paths = _find(input_path)
  loaded = trained.load(run, weights)
  experiment = loaded.experiment
  photos = _make_input(paths, experiment, run.strategy)
  classify = _make_classify(loaded.model, experiment.objective, run.strategy)
  names = experiment.source.class_names
  probabilities = np.zeros((len(paths), len(names)), "float32")
  with (
    errors.explaining_input(photos.find_unreadable),
    tqdm.tqdm(
      total=len(paths),
      desc="Classifying",
      unit="photo",
      delay=2,
      leave=False,
      disable=not run.is_chief,
    ) as progress,
  ):
    for batch in photos.examples():
      answers, numbers, are_photos = (t.numpy() for t in classify(batch))
      is_photo = are_photos > 0
      probabilities[numbers[is_photo]] = answers[is_photo]
      progress.update(int(is_photo.sum()))
  return Predictions(paths, names, probabilities, loaded.weights)


def _find(path):
  """Returns the paths of the photos at a path."""
  if not tf.io.gfile.exists(path):
    raise UserError(f"--input={path} is not there.")
  if not tf.io.gfile.isdir(path):
    return [path]
  photos, others = image_folder.images_below(path)
  if not photos:
    raise UserError(
      f"--input={path} holds no images among its {len(others):,} files: their "
      f"names end in {', '.join(image_folder.READABLE)}."
      f"{files.tell_archives(path)}"
    )
  return photos


def _make_input(paths, experiment, strategy):
  """Returns photos as the evaluation reads them, labelled by their numbers."""
  split = splits.of_files(
    paths, np.arange(len(paths)), experiment.source.channels
  )
  replicas = strategy.num_replicas_in_sync
  most = min(len(paths), experiment.batching.global_batch_size)
  batching = dataclasses.replace(
    experiment.batching,
    global_batch_size=-(-most // replicas) * replicas,
    cache=False,
  )
  return Input(
    lambda context: KINDS[experiment.pipeline](split, batching, context),
    strategy,
  )


def _make_classify(model, objective, strategy):
  """Returns a function that classifies a distributed batch.

  The function returns probabilities, labels and weights, on every host those of
  all hosts.
  """

  def one_replica(batch):
    images, labels, weights = batch
    logits = evaluation_logits(model, normalize(images, objective), objective)
    return tf.nn.softmax(logits), labels, weights

  @tf.function(autograph=False)
  def classify(batch):
    results = strategy.run(one_replica, args=(batch,))
    if strategy.num_replicas_in_sync == 1:
      return results
    return tuple(strategy.gather(result, axis=0) for result in results)

  return classify


def describe(predictions: Predictions) -> str:
  """Returns a table for people: the likeliest classes of each photo."""
  rows = []
  for number, path in enumerate(predictions.paths):
    first, *others = predictions.likeliest(number)[:_CLASSES_TOLD]
    rest = ", ".join(f"{name} {value:.1%}" for name, value in others)
    rows.append((path, first[0], f"{first[1]:.1%}", rest))
  rows = [("photo", "class", "probability", "next"), *rows]
  widths = [max(len(row[i]) for row in rows) for i in range(3)]
  return "\n".join(
    f"{path:{widths[0]}}  {name:{widths[1]}}  {value:>{widths[2]}}  {rest}"
    for path, name, value, rest in rows
  )


def as_csv(predictions: Predictions) -> str:
  """Returns a table for programs: photo, class, and all probabilities."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(["photo", "class", *predictions.class_names])
  for number, path in enumerate(predictions.paths):
    name, _ = predictions.likeliest(number)[0]
    values = [f"{value:.7g}" for value in predictions.probabilities[number]]
    writer.writerow([path, name, *values])
  return text.getvalue()


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of this program."""
  trained.define_flags(
    values, "A CSV file to write, with the probabilities of all classes."
  )
  flags_lib.define_path("input", "A photo, or a folder of photos.", values)


def main(values: flags.FlagValues) -> None:
  """Classifies as the flags say."""
  if not values.input:
    raise UserError("--input must be a photo, or a folder of photos.")
  output = values.output and shared.check_output_file(
    values.output, _find(values.input)
  )
  run = flags_lib.make_runtime(values)
  predictions = predict(run, values.input, weights=values.weights)
  if not run.is_chief:
    return
  print(describe(predictions))
  if output:
    with files.writing(output, resumes=False):
      files.write_whole(output, as_csv(predictions))
  count = len(predictions.paths)
  print(
    f"{count:,} {'photo' if count == 1 else 'photos'} by the weights of "
    f"{run.workdir}: {predictions.weights}"
  )


if __name__ == "__main__":
  flags_lib.run(main, define_flags)
