import dataclasses
import os
import subprocess
from unittest import mock

import tensorflow as tf

from trainers import devices, gpu_support

# A GPU, and a TensorFlow without the libraries for it.
_UNUSED = gpu_support.Found(
  present=("NVIDIA H200",),
  usable=0,
  is_hidden=False,
  has_cuda=True,
  has_libraries=False,
)


class WhyUnusedTest(tf.test.TestCase):
  def _why(self, **facts):
    return gpu_support.why_unused(dataclasses.replace(_UNUSED, **facts))

  def test_a_reason_with_the_remedy(self):
    for facts, words in (
      ({}, ("finds none of CUDA's libraries", gpu_support.INSTALL)),
      ({"has_cuda": False}, ("a build without CUDA", gpu_support.INSTALL)),
      ({"has_libraries": True}, ("Update the driver", "TF_CPP_MAX_VLOG_LEVEL")),
    ):
      reason = self._why(**facts)
      self.assertStartsWith(reason, "NVIDIA H200 cannot be used")
      for word in (*words, tf.__version__):
        self.assertIn(word, reason)
    self.assertEqual(gpu_support.INSTALL, "pip install 'tensorflow[and-cuda]'")

  def test_nothing_to_tell(self):
    self.assertIsNone(self._why(present=()))
    self.assertIsNone(self._why(usable=1))
    self.assertIsNone(self._why(is_hidden=True))

  def test_make_strategy_warns(self):
    with (
      mock.patch.object(gpu_support, "find", return_value=_UNUSED),
      self.assertWarnsRegex(UserWarning, "NVIDIA H200 cannot be used"),
    ):
      devices.make_strategy()


class FindTest(tf.test.TestCase):
  def _find(self, listed, files=(), **environment):
    """Returns what is found where nvidia-smi prints `listed`."""
    answer = subprocess.CompletedProcess((), 0, stdout=listed)
    with (
      mock.patch.object(gpu_support.shutil, "which", lambda name: name),
      mock.patch.object(
        gpu_support.subprocess, "run", side_effect=[answer]
      ) as run,
      mock.patch.object(gpu_support.glob, "glob", return_value=[*files]),
      mock.patch.dict(os.environ, environment),
    ):
      found = gpu_support.find()
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
      mock.patch.object(gpu_support.shutil, "which", lambda name: name),
      mock.patch.object(
        gpu_support.subprocess,
        "run",
        side_effect=subprocess.TimeoutExpired("nvidia-smi", 10),
      ),
      mock.patch.object(
        gpu_support.glob, "glob", return_value=["/dev/nvidia0"]
      ),
    ):
      self.assertEqual(gpu_support.find().present, ("/dev/nvidia0",))


if __name__ == "__main__":
  tf.test.main()
