"""Where and how a program runs; what it computes is its config's."""

import dataclasses

import keras
import tensorflow as tf

from trainers import distribution
from trainers.errors import UserError

PRECISIONS = {
  "float32": "float32",
  "bfloat16": "mixed_bfloat16",
  "float16": "mixed_float16",
}


@dataclasses.dataclass(frozen=True)
class Runtime:
  """What the flags that all trainers share say.

  Attributes:
    strategy: How the devices are used.
    workdir: Directory of the run.
    data_dir: Where the data is, if it is on disk.
    profile_steps: The first and the last step to write a trace of, or None.
    fake_data: Whether to make up the data.
  """

  strategy: tf.distribute.Strategy
  workdir: str
  data_dir: str | None = None
  profile_steps: tuple[int, int] | None = None
  fake_data: bool = False

  @property
  def is_chief(self) -> bool:
    """Whether this process is the one that writes files."""
    return distribution.is_chief(self.strategy)


def set_precision(name: str) -> None:
  """Sets the dtype policy of all layers made from now on.

  Args:
    name: A key of PRECISIONS. Weights are float32 in each case; "bfloat16" and
      "float16" compute in these, the latter with a scaled loss.

  Raises:
    UserError: if there is no such precision.
  """
  if name not in PRECISIONS:
    raise UserError(f"precision must be one of {[*PRECISIONS]}, not {name!r}.")
  keras.config.set_dtype_policy(PRECISIONS[name])


def precision() -> str:
  """Returns the name of the precision that is set, a key of PRECISIONS."""
  policy = keras.config.dtype_policy().name
  return next(name for name, value in PRECISIONS.items() if value == policy)
