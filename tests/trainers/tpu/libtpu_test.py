import tensorflow as tf

from trainers.tpu import libtpu


class LibtpuTest(tf.test.TestCase):
  def test_what_is_installed_here(self):
    self.assertIsNone(libtpu.mismatch())

  def test_versions_that_go_together(self):
    self.assertIsNone(libtpu.describe(None, None))
    self.assertIsNone(libtpu.describe(None, "0.0.52"))
    self.assertIsNone(libtpu.describe("2.19.1", "0.0.10"))
    self.assertIsNone(libtpu.describe("2.21.0", "0.0.52"))  # Not known yet.

  def test_another_version_or_none(self):
    for installed in ("0.0.52", None):
      self.assertRegex(
        libtpu.describe("2.20.0", installed),
        f"but {str(installed).lower()} is installed.*libtpu==0.0.14",
      )


if __name__ == "__main__":
  tf.test.main()
