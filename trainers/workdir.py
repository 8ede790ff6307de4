"""The directory of a run: it belongs to one config."""

import json

import ml_collections
import tensorflow as tf

from trainers.errors import UserError


def claim(workdir: str, config: ml_collections.ConfigDict) -> None:
  """Writes `config` to `workdir`/config.json, or compares it with one there.

  Args:
    workdir: Directory to create, or of an earlier run of the same config.
    config: All that decides the result of the run.

  Raises:
    UserError: if the directory cannot be written, or belongs to a run of
      another config; then with the fields that differ.
  """
  path = tf.io.gfile.join(workdir, "config.json")
  text = json.dumps(config.to_dict(), indent=2, sort_keys=True) + "\n"
  if not tf.io.gfile.exists(path):
    try:
      tf.io.gfile.makedirs(workdir)
      write_whole(path, text)
    except tf.errors.OpError as error:
      raise UserError(
        f"--workdir={workdir} cannot be written: {error.message}"
      ) from error
    return
  with tf.io.gfile.GFile(path) as file:
    before = json.load(file)
  differences = _differences(_flatten(before), _flatten(json.loads(text)))
  if differences:
    lines = "\n".join(f"  config.{line}" for line in differences)
    raise UserError(
      f"{workdir} belongs to a run of another config. Choose another "
      f"--workdir, or change back (there -> now):\n{lines}"
    )


def write_whole(path: str, text: str) -> None:
  """Writes a file so that a reader sees all of it or nothing."""
  temporary = f"{path}.tmp"
  with tf.io.gfile.GFile(temporary, "w") as file:
    file.write(text)
  tf.io.gfile.rename(temporary, path, overwrite=True)


def _flatten(value, prefix=""):
  """Returns the fields of nested dictionaries as {"data.name": value}."""
  if not isinstance(value, dict):
    return {prefix: value}
  fields = {}
  for key, child in value.items():
    fields |= _flatten(child, f"{prefix}.{key}" if prefix else key)
  return fields


def _differences(before, now):
  return [
    f"{field}: {before.get(field, '(none)')!r} -> {now.get(field, '(none)')!r}"
    for field in sorted(before.keys() | now.keys())
    if before.get(field, "(none)") != now.get(field, "(none)")
  ]
