"""A run that was trained, to use its model."""

import dataclasses

import ml_collections
import tensorflow as tf
from absl import flags

from trainers import paths, runtime
from trainers import workdir as workdir_lib
from trainers.checkpoints import Checkpoints
from trainers.errors import UserError
from trainers.translation import (
  checks,
  experiment,
  training_step,
  vocabulary,
  weights,
)
from trainers.translation.model import Transformer

_OUTPUT = flags.DEFINE(
  paths.PathParser(),
  "output",
  None,
  "Where to write: the file of translations with --mode=translate, the "
  "directory of the saved model with --mode=export.",
)
_BEAM_SIZE = flags.DEFINE_integer(
  "beam_size",
  None,
  "With --mode=translate or export, in place of the config's; 1 is greedy.",
  lower_bound=1,
)
_WEIGHTS = flags.DEFINE_enum(
  "weights",
  None,
  checks.WEIGHTS,
  "With --mode=translate or export: those of the best checkpoint, of the last, "
  "or the average of the last. By default the config's final_weights.",
)


@dataclasses.dataclass(frozen=True)
class Trained:
  """What there is to translate with.

  Attributes:
    model: With the weights of a checkpoint.
    words: Its vocabulary.
    decoding: The config's `decoding`, with the flags' beam size.
    jit_compile: Whether XLA compiles the search.
    weights: Which weights these are.
  """

  model: Transformer
  words: vocabulary.Vocabulary
  decoding: ml_collections.ConfigDict
  jit_compile: bool
  weights: str


def output() -> str:
  """Returns the path to write to.

  Raises:
    UserError: if none was given, or if the name beside it is taken under which
      it is written at first.
  """
  if not _OUTPUT.value:
    raise UserError("--output must say where to write.")
  path = _OUTPUT.value.rstrip("/")
  if tf.io.gfile.exists(f"{path}.tmp"):
    raise UserError(
      f"--output={path} is written as {path}.tmp at first, which is there "
      "already: remove that if a program that was killed has left it, or give "
      "another --output."
    )
  return path


def load(
  run: runtime.Runtime, config: ml_collections.ConfigDict | None
) -> Trained:
  """Returns the model of the run in `run.workdir`, as the flags want it.

  Args:
    run: Where the run is, and what to use now.
    config: That of the command line, which has to be the run's, or None.

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
      "first, by --mode=train."
    )
  if config is not None:
    workdir_lib.check(run.workdir, config=config.to_dict())
  config = ml_collections.ConfigDict(records["config"])
  # The state of an optimizer is another with float16.
  runtime.set_precision(records["runtime"]["precision"])
  words = _load_vocabulary(run.workdir, records["vocabulary"])
  model, optimizer = experiment.make_model_and_optimizer(
    config, words.size, run.strategy
  )
  chosen = weights.restore(
    _WEIGHTS.value or config.final_weights,
    Checkpoints(run.workdir, model, optimizer),
    model,
    optimizer,
    config.average_checkpoints,
  )
  if _BEAM_SIZE.value:
    config.decoding.beam_size = _BEAM_SIZE.value
  return Trained(
    model,
    words,
    config.decoding,
    training_step.uses_xla(config, run.strategy),
    chosen,
  )


def _load_vocabulary(workdir, record):
  """Returns the vocabulary that the run was trained with."""
  for path in vocabulary.files(workdir):
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
