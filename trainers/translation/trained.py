"""A run that was trained: its model with the weights of its checkpoints."""

import dataclasses

import tensorflow as tf
from absl import flags

from trainers import devices, final_weights
from trainers import flags as flags_lib
from trainers import workdir as workdir_lib
from trainers.checkpoints import Checkpoints
from trainers.errors import UserError
from trainers.translation import experiment as experiment_lib
from trainers.translation import vocabulary
from trainers.translation.model import Transformer
from trainers.translation.translator import Decoding


@dataclasses.dataclass(frozen=True)
class Trained:
  """What there is to translate with.

  Attributes:
    model: With the weights of a checkpoint.
    words: Its vocabulary.
    decoding: How the run's config translates, with the beam size that was asked
      for.
    jit_compile: Whether XLA compiles the search.
    weights: Which weights these are, for people.
  """

  model: Transformer
  words: vocabulary.Vocabulary
  decoding: Decoding
  jit_compile: bool
  weights: str


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of a program that uses a trained run."""
  flags_lib.define_path("output", "Where to write.", values)
  flags.DEFINE_integer(
    "beam_size",
    None,
    "In place of that of the run's config; 1 is the greedy search.",
    lower_bound=1,
    flag_values=values,
  )
  flags.DEFINE_enum(
    "weights",
    None,
    experiment_lib.WEIGHTS,
    "Those of the best checkpoint, of the last, or the average of the last. By "
    "default final_weights of the run's config.",
    flag_values=values,
  )
  flags.register_validator(
    "workdir",
    lambda path: path is not None,
    "must name the directory of a run",
    flag_values=values,
  )


def check_output(output: str | None) -> str:
  """Returns the path to write to, without a slash at its end.

  Raises:
    UserError: if none was given, or if the name beside it is taken under which
      it is written at first.
  """
  if not output:
    raise UserError("--output must say where to write.")
  path = output.rstrip("/")
  if tf.io.gfile.exists(f"{path}.tmp"):
    raise UserError(
      f"--output={path} is written as {path}.tmp at first, which is there "
      "already: remove that if a program that was killed has left it, or give "
      "another --output."
    )
  return path


def load(
  run: devices.Runtime,
  weights: str | None = None,
  beam_size: int | None = None,
) -> Trained:
  """Returns the model of the run in `run.workdir`.

  Args:
    run: Where the run is, and what to use now.
    weights: "best", "last" or "average", as for `final_weights.restore`; None
      for `final_weights` of the config.
    beam_size: In place of the config's; None for that.

  Raises:
    UserError: if there is no such run.
  """
  records = {
    name: workdir_lib.read(run.workdir, name)
    for name in ("config", "vocabulary", "runtime")
  }
  if None in records.values():
    raise UserError(
      f"--workdir={run.workdir} holds no run of this trainer: train there "
      "first, by python -m trainers.translation."
    )
  # The state of an optimizer is another with float16.
  devices.set_precision(records["runtime"]["precision"])
  experiment = experiment_lib.of_record(records["config"], run.strategy)
  words = _load_vocabulary(run.workdir, records["vocabulary"])
  model = experiment_lib.make_model_and_slots(
    experiment, words.size, run.strategy
  )
  chosen = final_weights.restore(
    weights or experiment.final_weights,
    Checkpoints(run.workdir, model, experiment.optimizer),
    model,
    experiment.optimizer,
    experiment.average_checkpoints,
  )
  decoding = experiment.decoding
  if beam_size:
    decoding = dataclasses.replace(decoding, beam_size=beam_size)
  return Trained(model, words, decoding, experiment.jit_compile, chosen)


def _load_vocabulary(workdir, record):
  """Returns the vocabulary that the run was trained with."""
  for path in vocabulary.find_files(workdir):
    try:
      with tf.io.gfile.GFile(path, "rb") as file:
        words = vocabulary.Vocabulary(file.read())
    except tf.errors.OpError:
      continue  # It is damaged, and so another one.
    if words.describe() == record:
      return words
  raise UserError(
    f"{workdir}/vocabulary has no file with the vocabulary that this run was "
    f"trained with, whose SHA-256 is {record['fingerprint']}: put it back."
  )
