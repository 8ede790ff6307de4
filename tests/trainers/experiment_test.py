import tensorflow as tf
from ml_collections import config_dict

from tests import replicas
from trainers import config_checks
from trainers.errors import UserError

_RANGES = (
  config_checks.SEED,
  ("model.width", config_checks.is_positive, "positive"),
)


class ConfigChecksTest(tf.test.TestCase):
  def test_ranges(self):
    def check(seed, width):
      config = config_dict.create(seed=seed, model={"width": width})
      config_checks.check_ranges(config, _RANGES)

    check(0, 1)
    check(2**32 - 2, 8)
    with self.assertRaisesRegex(UserError, r"seed must be in .* Received: -1"):
      check(-1, 1)
    with self.assertRaisesRegex(
      UserError, "model.width must be positive. .* 0"
    ):
      check(0, 0)

  def test_jit_compile(self):
    config = config_dict.create(jit_compile=True)
    one = tf.distribute.OneDeviceStrategy("CPU:0")
    config_checks.check_jit_compile(config, one)
    with self.assertRaisesRegex(UserError, "cannot be had with 2 replicas"):
      config_checks.check_jit_compile(config, replicas.mirrored())


if __name__ == "__main__":
  tf.test.main()
