"""The TPUs that a step can be compiled for, and what bounds a step on them."""

import dataclasses
from collections.abc import Sequence

from trainers.errors import UserError


@dataclasses.dataclass(frozen=True)
class Slice:
  """A TPU slice of one host; all numbers are those of one device.

  A device is a core of a v2 or v3 chip, a whole chip from v4 to v6e, and one of
  the two chiplets of a TPU7x. Speed and
  bandwidth are the ones that Google publishes
  (https://cloud.google.com/tpu/docs/system-architecture-tpu-vm); where they
  are given for a chip of two cores, half of them is here. Memory is what
  libtpu 0.0.52 leaves to programs, according to its own error messages.

  Attributes:
    topology: What libtpu calls it.
    hbm_gib: Memory, in GiB.
    flops: Peak of bfloat16 products, in FLOP/s.
    bandwidth: Of the memory, in bytes/s.
    chip_config: "megacore" where two cores of a chip are to be one device,
      which for libtpu is not the default of that chip.
  """

  topology: str
  hbm_gib: float
  flops: float
  bandwidth: float
  chip_config: str = "default"


SLICES = {
  "v2-8": Slice("v2:2x2x1", 7.48, 22.5e12, 350e9),
  "v3-8": Slice("v3:2x2x1", 15.48, 61.5e12, 450e9),
  "v4-8": Slice("v4:2x2x1", 30.75, 275e12, 1200e9, chip_config="megacore"),
  "v5e-8": Slice("v5e:2x4", 15.75, 197e12, 819e9),
  "v5p-8": Slice("v5p:2x2x1", 95.73, 459e12, 2765e9),
  "v6e-8": Slice("v6e:2x4", 31.24, 918e12, 1640e9),
  "tpu7x-8": Slice("tpu7x:2x2x1", 94.74, 1153.5e12, 3690e9),
}


@dataclasses.dataclass(frozen=True)
class Cost:
  """What a compiled step takes of one device, as the compiler says.

  Attributes:
    arguments: Variables and the batch, in bytes.
    temporaries: What lives within the step only, in bytes.
    total: Arguments, temporaries, the program, and those results that do not
      take the place of an argument, in bytes.
    flop: Floating point operations in a step, or NaN if the compiler does not
      say.
    accessed: Bytes that the step's operations read and write, likewise.
  """

  arguments: int
  temporaries: int
  total: int
  flop: float
  accessed: float


def find(names: Sequence[str]) -> dict[str, Slice]:
  """Returns the slices of these names.

  Raises:
    UserError: if there is no such slice, or no name.
  """
  unknown = [name for name in names if name not in SLICES]
  if unknown or not names:
    raise UserError(
      f"tpu_compile_only must name TPU slices of {', '.join(SLICES)}. "
      f"Received: {', '.join(unknown) or 'none'}"
    )
  return {name: SLICES[name] for name in names}


def least_seconds(chips: Slice, cost: Cost) -> float:
  """Returns the roofline: the time below which no step of that cost can be.

  The arithmetic units at their peak, or the memory at its full bandwidth,
  whichever takes longer (Williams, Waterman, Patterson 2009). It is NaN if the
  cost is not known.
  """
  return max(cost.flop / chips.flops, cost.accessed / chips.bandwidth)
