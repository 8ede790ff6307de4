import dataclasses
import os
import subprocess
from unittest import mock

import tensorflow as tf
from absl.testing import parameterized

from trainers import devices, hardware
from trainers.hardware import Cpu

# A GPU, and a TensorFlow without the libraries for it.
_UNUSED = hardware.Gpus(
  present=("NVIDIA H200",),
  usable=0,
  is_hidden=False,
  has_cuda=True,
  has_libraries=False,
)

_GENOA = frozenset({"avx512f", "avx512_vnni", "avx512_bf16"})
_SAPPHIRE_RAPIDS = _GENOA | {
  "amx_bf16",
  "amx_int8",
  "amx_tile",
  "avx512_fp16",
}
_CASCADE_LAKE = frozenset({"avx512f", "avx512_vnni"})
_CPUINFO = """processor\t: 0
flags\t\t: fpu avx512f avx512_bf16
bugs\t\t: spectre_v1

processor\t: 1
flags\t\t: fpu avx512f
"""


class WhyUnusedTest(tf.test.TestCase):
  def _why(self, **facts):
    return hardware.why_unused(dataclasses.replace(_UNUSED, **facts))

  def test_a_reason_with_the_remedy(self):
    for facts, words in (
      ({}, ("finds none of CUDA's libraries", hardware.INSTALL)),
      ({"has_cuda": False}, ("a build without CUDA", hardware.INSTALL)),
      ({"has_libraries": True}, ("Update the driver", "TF_CPP_MAX_VLOG_LEVEL")),
    ):
      reason = self._why(**facts)
      self.assertStartsWith(reason, "NVIDIA H200 cannot be used")
      for word in (*words, tf.__version__):
        self.assertIn(word, reason)
    self.assertEqual(hardware.INSTALL, "pip install 'tensorflow[and-cuda]'")

  def test_nothing_to_tell(self):
    self.assertIsNone(self._why(present=()))
    self.assertIsNone(self._why(usable=1))
    self.assertIsNone(self._why(is_hidden=True))

  def test_make_strategy_warns(self):
    with (
      mock.patch.object(hardware, "find_gpus", return_value=_UNUSED),
      self.assertWarnsRegex(UserWarning, "NVIDIA H200 cannot be used"),
    ):
      devices.make_strategy()


class FindGpusTest(tf.test.TestCase):
  def _find(self, listed, files=(), **environment):
    """Returns what is found where nvidia-smi prints `listed`."""
    answer = subprocess.CompletedProcess((), 0, stdout=listed)
    with (
      mock.patch.object(hardware.shutil, "which", lambda name: name),
      mock.patch.object(
        hardware.subprocess, "run", side_effect=[answer]
      ) as run,
      mock.patch.object(hardware.glob, "glob", return_value=[*files]),
      mock.patch.dict(os.environ, environment),
    ):
      found = hardware.find_gpus()
    self.assertEqual(run.call_args.args, (["nvidia-smi", "-L"],))
    return found

  def test_names(self):
    listed = (
      "GPU 0: NVIDIA H200 (UUID: GPU-1b2c)\n"
      "  MIG 1g.18gb     Device  0: (UUID: MIG-3d4e)\n"
      "GPU 1: Tesla V100-SXM2-16GB (UUID: GPU-5f6a)\n"
    )
    found = self._find(listed, ["/dev/nvidia0"])
    self.assertEqual(found.present, ("NVIDIA H200", "Tesla V100-SXM2-16GB"))
    self.assertFalse(found.is_hidden)

  def test_device_files(self):
    found = self._find("", ["/dev/nvidia1", "/dev/nvidia0"])
    self.assertEqual(found.present, ("/dev/nvidia0", "/dev/nvidia1"))

  def test_none(self):
    self.assertEqual(self._find("No devices were found\n").present, ())

  def test_hidden_on_purpose(self):
    self.assertTrue(self._find("", CUDA_VISIBLE_DEVICES="-1").is_hidden)
    self.assertTrue(self._find("", CUDA_VISIBLE_DEVICES="").is_hidden)
    self.assertFalse(self._find("", CUDA_VISIBLE_DEVICES="0,1").is_hidden)

  def test_nvidia_smi_that_hangs(self):
    with (
      mock.patch.object(hardware.shutil, "which", lambda name: name),
      mock.patch.object(
        hardware.subprocess,
        "run",
        side_effect=subprocess.TimeoutExpired("nvidia-smi", 10),
      ),
      mock.patch.object(hardware.glob, "glob", return_value=["/dev/nvidia0"]),
    ):
      self.assertEqual(hardware.find_gpus().present, ("/dev/nvidia0",))


class Bfloat16ProductsTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    (_GENOA, "", "avx512_bf16"),
    (_GENOA, "ALL", "avx512_bf16"),
    (_GENOA, "AVX512_CORE_BF16", "avx512_bf16"),
    (_SAPPHIRE_RAPIDS, "", "amx_bf16"),
    (_SAPPHIRE_RAPIDS, "AVX512_CORE_FP16", "avx512_bf16"),
    # A virtual machine that hides tiles from its guest.
    (_SAPPHIRE_RAPIDS - {"amx_tile"}, "", "avx512_bf16"),
  )
  def test_there_are_some(self, flags, limit, expected):
    cpu = Cpu(flags, uses_onednn=True, onednn_limit=limit)
    self.assertEqual(hardware.bfloat16_products(cpu), expected)
    self.assertIsNone(hardware.why_bfloat16_is_slow(cpu))

  @parameterized.parameters(
    (_CASCADE_LAKE, True, "", "neither avx512_bf16 nor amx_bf16"),
    (frozenset(), True, "", "neither avx512_bf16 nor amx_bf16"),
    (_CASCADE_LAKE | {"avx_ne_convert"}, True, "", "neither"),
    (_GENOA, False, "", "without oneDNN"),
    (_GENOA, True, "avx512_core_vnni", "ONEDNN_MAX_CPU_ISA=avx512_core_vnni"),
  )
  def test_there_are_none(self, flags, uses_onednn, limit, reason):
    cpu = Cpu(flags, uses_onednn, limit)
    self.assertIsNone(hardware.bfloat16_products(cpu))
    sentence = hardware.why_bfloat16_is_slow(cpu)
    self.assertStartsWith(sentence, "--precision=bfloat16 is slower")
    self.assertIn(reason, sentence)
    self.assertEndsWith(sentence, "Use --precision=float32.")


class FindCpuTest(tf.test.TestCase):
  def _find(self, opened, **environment):
    with (
      mock.patch("builtins.open", opened),
      mock.patch.dict(os.environ, environment),
    ):
      return hardware.find_cpu()

  def test_what_all_processors_have(self):
    cpu = self._find(
      mock.mock_open(read_data=_CPUINFO), ONEDNN_MAX_CPU_ISA="AVX2"
    )
    self.assertEqual(cpu.flags, {"fpu", "avx512f"})
    self.assertEqual(cpu.onednn_limit, "AVX2")

  def test_no_file(self):
    self.assertEqual(self._find(mock.Mock(side_effect=OSError)).flags, set())

  def test_flags_of_another_architecture(self):
    self.assertEqual(hardware.flags_in("Features\t: fp bf16\n"), set())


class PrecisionTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.addCleanup(devices.set_precision, devices.precision())

  def _on(self, flags):
    cpu = Cpu(flags, uses_onednn=True)
    return mock.patch.object(hardware, "find_cpu", return_value=cpu)

  def test_a_warning_for_bfloat16_alone(self):
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with self._on(_CASCADE_LAKE), mock.patch("warnings.warn") as warn:
      for precision in ("float32", "float16"):
        devices.set_precision(precision)
        devices.warn_of_slow_precision(strategy)
        self.assertEqual(devices.describe_precision(strategy), precision)
      warn.assert_not_called()
      devices.set_precision("bfloat16")
      devices.warn_of_slow_precision(strategy)
      self.assertIn("neither", warn.call_args.args[0])
      self.assertIn("slow", devices.describe_precision(strategy))

  def test_no_warning_where_there_are_instructions(self):
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    devices.set_precision("bfloat16")
    with self._on(_GENOA), mock.patch("warnings.warn") as warn:
      devices.warn_of_slow_precision(strategy)
      warn.assert_not_called()
      self.assertStartsWith(
        devices.describe_precision(strategy), "bfloat16 (the CPU's avx512_bf16;"
      )

  def test_no_word_of_the_cpu_where_a_gpu_computes(self):
    gpu = [tf.config.LogicalDevice("/device:GPU:0", "GPU")]
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    devices.set_precision("bfloat16")
    with (
      self._on(_CASCADE_LAKE),
      mock.patch.object(tf.config, "list_logical_devices", return_value=gpu),
      mock.patch("warnings.warn") as warn,
    ):
      devices.warn_of_slow_precision(strategy)
      warn.assert_not_called()
      self.assertEqual(devices.describe_precision(strategy), "bfloat16")


if __name__ == "__main__":
  tf.test.main()
