"""The directory of a run: it belongs to one config and one data set."""

import contextlib
import fcntl
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from trainers import agreement, devices, files
from trainers.errors import UserError

# Fields of records that may grow: a run can always go on for longer.
_LENGTHS = ("config.num_epochs", "config.num_steps")


@contextlib.contextmanager
def locked(workdir: str) -> Iterator[None]:
  """Returns a context manager that holds the lock of `workdir`.

  The operating system frees the lock however the process ends. A directory that
  is not on a local disk (gs://...) has no lock; a network file system without
  locks warns.

  Args:
    workdir: Directory of a run, which is created.

  Raises:
    UserError: if another process has it, or if it cannot be created.
  """
  if "://" in workdir:
    yield
    return
  try:
    os.makedirs(workdir, exist_ok=True)
    file = open(os.path.join(workdir, "lock"), "a")  # noqa: SIM115
  except (FileExistsError, NotADirectoryError) as error:
    raise UserError(
      f"--workdir={workdir} is, or is in, a file: give a directory."
    ) from error
  except OSError as error:
    raise UserError(f"--workdir={workdir} cannot be used: {error}") from error
  with file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise UserError(
        f"Another process is training in --workdir={workdir}: wait for it, "
        "stop it, or choose another --workdir."
      ) from None
    except OSError as error:  # A network file system without locks.
      warnings.warn(
        f"--workdir={workdir} cannot be locked ({error}): take care that no "
        "other process trains in it.",
        stacklevel=2,
      )
    yield


@contextlib.contextmanager
def owned(
  run: devices.Runtime, records: Mapping[str, Mapping[str, Any]]
) -> Iterator[None]:
  """Returns a context manager in which `run.workdir` belongs to one run.

  Enter the context manager in all processes, when all is ready to be trained:
  from then on other runs have to take another directory. One process holds the
  lock.

  Args:
    run: The processes, and the directory.
    records: As for `claim`, the same in all processes.

  Raises:
    UserError: if processes have different records, and as `locked` and `claim`
      do.
  """
  agreement.check_same_records(agreement.make_gather(run.strategy), records)
  with contextlib.ExitStack() as stack:
    if run.is_chief:
      stack.enter_context(locked(run.workdir))
      claim(run.workdir, **records)
    yield


def claim(workdir: str, **records: Mapping[str, Any]) -> None:
  """Makes `workdir` the directory of a run, or checks that it is already.

  A run that is to be longer than before is the same: its record is written
  again, and a sentence says so.

  Args:
    workdir: Directory to create, or of an earlier run.
    **records: All that decides the result of the run, JSON-like dictionaries.
      Record `config` is written to config.json, and so on.

  Raises:
    UserError: if the directory cannot be written, or belongs to a run with
      other records; the message then names the fields that differ.
  """
  check(workdir, **records)
  for name, record in records.items():
    path = tf.io.gfile.join(workdir, f"{name}.json")
    before = read(workdir, name)
    now = json.loads(_text(record))
    with _using(workdir, path):
      if before != now:
        tf.io.gfile.makedirs(workdir)
        files.write_whole(path, _text(record))
    if before is not None and before != now:
      for line in _differences(_flatten(before, name), _flatten(now, name)):
        print(f"{workdir}: the run goes on with a new length, {line}.")


def check(workdir: str, **records: Mapping[str, Any]) -> None:
  """Raises a UserError if `workdir` belongs to a run with other records.

  `check` writes nothing. A directory without records passes, and so does a run
  that will be longer than before. Arguments and errors are those of `claim`.
  """
  differences = []
  for name, record in records.items():
    before = read(workdir, name)
    if before is not None:
      now = json.loads(_text(record))
      _check_task(workdir, before, now)
      before, now = _flatten(before, name), _flatten(now, name)
      for length in _LENGTHS:
        if before.get(length, now.get(length, 0)) < now.get(length, 0):
          now[length] = before[length]
      differences += _differences(before, now)
  if differences and all(one.startswith("source.") for one in differences):
    raise UserError(
      f"The data has changed since the run in {workdir} began (then -> now): "
      f"{'; '.join(differences)}. Put the data back, or choose another "
      "--workdir."
    )
  fields = {one.partition(":")[0] for one in differences}
  if differences and fields <= {*_LENGTHS}:
    raise UserError(
      f"The run in {workdir} cannot become shorter (there -> now): "
      f"{'; '.join(differences)}. Choose another --workdir."
    )
  if differences:
    raise UserError(
      f"{workdir} belongs to another run. Choose another --workdir, or change "
      f"back (there -> now): {'; '.join(differences)}"
    )


def read(workdir: str, name: str) -> dict[str, Any] | None:
  """Returns the record `name` of the run in `workdir`, or None.

  Raises:
    UserError: if it cannot be read.
  """
  path = tf.io.gfile.join(workdir, f"{name}.json")
  with _using(workdir, path):
    if not tf.io.gfile.exists(path):
      return None
    with tf.io.gfile.GFile(path) as file:
      return json.load(file)


@contextlib.contextmanager
def _using(workdir, path):
  """Returns a context manager that turns a failure into a UserError."""
  try:
    yield
  except (tf.errors.OpError, json.JSONDecodeError) as error:
    raise UserError(
      f"--workdir={workdir} cannot be used: {path}: {error}"
    ) from error


def _text(record):
  return json.dumps(record, indent=2, sort_keys=True) + "\n"


def _flatten(value, prefix):
  """Returns the fields of nested dictionaries as {"data.name": value}."""
  if not isinstance(value, dict):
    return {prefix: value}
  fields = {}
  for key, child in value.items():
    fields |= _flatten(child, f"{prefix}.{key}")
  return fields


def _check_task(workdir, before, now):
  """Raises a UserError if two configs are of different trainers."""
  models = [record.get("model") for record in (before, now)]
  if all(isinstance(model, dict) for model in models) and not (
    models[0].keys() & models[1].keys()
  ):
    raise UserError(
      f"--workdir={workdir} holds a run of another trainer: choose another "
      "--workdir."
    )


def _differences(before, now):
  """Returns a text for each field that differs.

  A group of fields on one side is None on the other: its fields are told.
  """
  fields = before.keys() | now.keys()
  return [
    _describe(field, before.get(field, "(none)"), now.get(field, "(none)"))
    for field in sorted(fields)
    if before.get(field, "(none)") != now.get(field, "(none)")
    and not any(other.startswith(f"{field}.") for other in fields)
  ]


def _describe(field, before, now):
  if field.endswith("fingerprint"):
    return f"{field}: other names, sizes or contents"
  return f"{field}: {before!r} -> {now!r}"
