import os
from unittest import mock

import tensorflow as tf
from absl.testing import parameterized

from trainers import cpu_support, devices
from trainers.cpu_support import Cpu

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
    self.assertEqual(cpu_support.bfloat16_products(cpu), expected)
    self.assertIsNone(cpu_support.why_slow(cpu))

  @parameterized.parameters(
    (_CASCADE_LAKE, True, "", "neither avx512_bf16 nor amx_bf16"),
    (frozenset(), True, "", "neither avx512_bf16 nor amx_bf16"),
    (_CASCADE_LAKE | {"avx_ne_convert"}, True, "", "neither"),
    (_GENOA, False, "", "without oneDNN"),
    (_GENOA, True, "avx512_core_vnni", "ONEDNN_MAX_CPU_ISA=avx512_core_vnni"),
  )
  def test_there_are_none(self, flags, uses_onednn, limit, reason):
    cpu = Cpu(flags, uses_onednn, limit)
    self.assertIsNone(cpu_support.bfloat16_products(cpu))
    sentence = cpu_support.why_slow(cpu)
    self.assertStartsWith(sentence, "--precision=bfloat16 is slower")
    self.assertIn(reason, sentence)
    self.assertEndsWith(sentence, "Use --precision=float32.")


class FindTest(tf.test.TestCase):
  def _find(self, opened, **environment):
    with (
      mock.patch("builtins.open", opened),
      mock.patch.dict(os.environ, environment),
    ):
      return cpu_support.find()

  def test_what_all_processors_have(self):
    cpu = self._find(
      mock.mock_open(read_data=_CPUINFO), ONEDNN_MAX_CPU_ISA="AVX2"
    )
    self.assertEqual(cpu.flags, {"fpu", "avx512f"})
    self.assertEqual(cpu.onednn_limit, "AVX2")

  def test_no_file(self):
    self.assertEqual(self._find(mock.Mock(side_effect=OSError)).flags, set())

  def test_flags_of_another_architecture(self):
    self.assertEqual(cpu_support.flags_in("Features\t: fp bf16\n"), set())


class DevicesTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.addCleanup(devices.set_precision, devices.precision())

  def _on(self, flags):
    cpu = Cpu(flags, uses_onednn=True)
    return mock.patch.object(cpu_support, "find", return_value=cpu)

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
