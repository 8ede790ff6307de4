"""What the machine has to compute with: GPUs, and the CPU's instructions.

On CPUs TensorFlow computes products and convolutions with oneDNN, which picks
its kernels by the instructions that the CPU has. In bfloat16 oneDNN works with
any AVX-512, but without products of bfloat16 it converts each operand to
float32 and back, which takes longer than float32 alone.
"""

import contextlib
import dataclasses
import glob
import importlib.util
import os
import re
import shutil
import subprocess

import tensorflow as tf
from tensorflow.python.util import _pywrap_util_port

from trainers import tensorflow_log

INSTALL = "pip install 'tensorflow[and-cuda]'"

_TIMEOUT = 10  # Seconds for nvidia-smi, which may hang with a broken driver.

_CPUINFO = "/proc/cpuinfo"
# What oneDNN multiplies bfloat16 with, by the names that Linux gives them, the
# faster one first; and what else oneDNN asks for before it uses the first.
_PRODUCTS = ("amx_bf16", "avx512_bf16")
_WITH_AMX = frozenset({"amx_tile", "amx_int8", "avx512_bf16", "avx512_fp16"})
# Values of ONEDNN_MAX_CPU_ISA that leave oneDNN none of these.
_LIMITS_WITHOUT = (
  *("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2"),
  *("AVX512_CORE", "AVX512_CORE_VNNI"),
)
_LIMITS_WITHOUT_AMX = ("AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX10_1_512")


@dataclasses.dataclass(frozen=True)
class Gpus:
  """What there is of NVIDIA's GPUs and of the software for them.

  Attributes:
    present: Names of the GPUs that the driver shows, or of their device files.
    usable: How many of them TensorFlow can use.
    is_hidden: Whether CUDA_VISIBLE_DEVICES hides them, on purpose.
    has_cuda: Whether TensorFlow was built with CUDA.
    has_libraries: Whether the libraries of tensorflow[and-cuda] are installed.
  """

  present: tuple[str, ...]
  usable: int
  is_hidden: bool
  has_cuda: bool
  has_libraries: bool


def count_cores() -> int:
  """Returns how many processors this process may use."""
  if hasattr(os, "sched_getaffinity"):  # Not on macOS.
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def find_gpus() -> Gpus:
  """Returns what GPUs there are on this machine."""
  usable = len(tf.config.list_physical_devices("GPU"))
  return Gpus(
    present=() if usable else _present_gpus(),
    usable=usable,
    is_hidden=os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"),
    has_cuda=tf.test.is_built_with_cuda(),
    has_libraries=_has_libraries(),
  )


def why_unused(gpus: Gpus) -> str | None:
  """Returns why GPUs are not used and what to do, a sentence each, or None.

  None means that all is well: a GPU can be used, there is none, or it is hidden
  on purpose.

  Args:
    gpus: From `find_gpus`.
  """
  if gpus.usable or gpus.is_hidden or not gpus.present:
    return None
  what = (
    f"{', '.join(gpus.present)} cannot be used, and the CPU computes instead: "
    f"TensorFlow {tf.__version__}"
  )
  if not gpus.has_cuda:
    return f"{what} is a build without CUDA. Install one with it: {INSTALL}"
  if not gpus.has_libraries:
    return f"{what} finds none of CUDA's libraries. Install them: {INSTALL}"
  return (
    f"{what} has CUDA and its libraries, but does not go with the driver. "
    f"Update the driver, or set {tensorflow_log.SHOWN_BY}=0 to see what "
    "TensorFlow says."
  )


def _present_gpus():
  """Returns the names of the GPUs that the driver or its files show."""
  program = shutil.which("nvidia-smi")
  if program:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
      listed = subprocess.run(
        [program, "-L"],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
      ).stdout
      if names := _gpu_names_in(listed):
        return names
  return tuple(sorted(glob.glob("/dev/nvidia[0-9]*")))


def _gpu_names_in(listed: str) -> tuple[str, ...]:
  """Returns the names of the GPUs in what `nvidia-smi -L` prints."""
  return tuple(re.findall(r"^GPU \d+: (.+?) \(UUID", listed, re.MULTILINE))


def _has_libraries():
  try:
    return importlib.util.find_spec("nvidia.cudnn") is not None
  except ModuleNotFoundError:  # Not even of the package around it.
    return False


@dataclasses.dataclass(frozen=True)
class Cpu:
  """What decides how TensorFlow computes in bfloat16 on a CPU.

  Attributes:
    flags: The instructions of the CPU, by the names that Linux gives them.
    uses_onednn: Whether TensorFlow computes with oneDNN.
    onednn_limit: The value of ONEDNN_MAX_CPU_ISA, "" if there is none.
  """

  flags: frozenset[str]
  uses_onednn: bool
  onednn_limit: str = ""


def find_cpu() -> Cpu:
  """Returns what the CPU of this machine has, and TensorFlow uses."""
  try:
    with open(_CPUINFO) as file:
      text = file.read()
  except OSError:  # There is no such file but on Linux.
    text = ""
  limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
  return Cpu(
    flags=flags_in(text),
    uses_onednn=_pywrap_util_port.IsMklEnabled(),
    onednn_limit=limit or os.environ.get("DNNL_MAX_CPU_ISA", ""),
  )


def flags_in(cpuinfo: str) -> frozenset[str]:
  """Returns the instructions that all processors in /proc/cpuinfo's text have.

  Args:
    cpuinfo: The text, of an x86 machine: others list theirs by other names.
  """
  lines = re.findall(r"^flags\s*: (.*)$", cpuinfo, re.MULTILINE)
  if not lines:
    return frozenset()
  return frozenset.intersection(*[frozenset(line.split()) for line in lines])


def bfloat16_products(cpu: Cpu) -> str | None:
  """Returns the instructions that multiply bfloat16, None if none are used.

  Args:
    cpu: From `find_cpu`.
  """
  limit = cpu.onednn_limit.upper()
  if not cpu.uses_onednn or limit in _LIMITS_WITHOUT:
    return None
  has_amx = cpu.flags >= _WITH_AMX and limit not in _LIMITS_WITHOUT_AMX
  for name in _PRODUCTS:
    if name in cpu.flags and (has_amx or name != "amx_bf16"):
      return name
  return None


def why_bfloat16_is_slow(cpu: Cpu) -> str | None:
  """Returns why bfloat16 is slow and what to do, a sentence, or None.

  None means that the CPU multiplies bfloat16.

  Args:
    cpu: From `find_cpu`.
  """
  if bfloat16_products(cpu):
    return None
  if not cpu.uses_onednn:
    reason = "TensorFlow computes without oneDNN"
  elif any(name in cpu.flags for name in _PRODUCTS):
    reason = f"ONEDNN_MAX_CPU_ISA={cpu.onednn_limit} keeps oneDNN from them"
  else:
    reason = "it has neither avx512_bf16 nor amx_bf16"
  return (
    "--precision=bfloat16 is slower than float32 on this CPU, which does not "
    f"multiply bfloat16: {reason}. Use --precision=float32."
  )
