"""Whether the CPU has instructions for bfloat16, and TensorFlow uses them.

On CPUs TensorFlow computes products and convolutions with oneDNN, which picks
its kernels by the instructions that the CPU has. In bfloat16 oneDNN works with
any AVX-512, but without products of bfloat16 it converts each operand to
float32 and back, which takes longer than float32 alone.
"""

import dataclasses
import os
import re

from tensorflow.python.util import _pywrap_util_port

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


def find() -> Cpu:
  """Returns what there is on this machine."""
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
    cpu: From `find`.
  """
  limit = cpu.onednn_limit.upper()
  if not cpu.uses_onednn or limit in _LIMITS_WITHOUT:
    return None
  has_amx = cpu.flags >= _WITH_AMX and limit not in _LIMITS_WITHOUT_AMX
  for name in _PRODUCTS:
    if name in cpu.flags and (has_amx or name != "amx_bf16"):
      return name
  return None


def why_slow(cpu: Cpu) -> str | None:
  """Returns why bfloat16 is slow and what to do, a sentence, or None.

  None means that the CPU multiplies bfloat16.

  Args:
    cpu: From `find`.
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
