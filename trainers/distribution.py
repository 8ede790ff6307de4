"""From flags to a tf.distribute strategy."""

import tensorflow as tf

from trainers.errors import UserError

STRATEGIES = ("auto", "one_device", "mirrored")


def make_strategy(
  name: str = "auto", logical_cpus: int = 1
) -> tf.distribute.Strategy:
  """Returns the strategy of that name on the devices of this machine.

  Args:
    name: One of STRATEGIES.
    logical_cpus: Number of devices to split the CPU into. TensorFlow allows
      that only before it has used its devices.

  Raises:
    UserError: if the devices cannot be had.
  """
  if name not in STRATEGIES:
    raise UserError(f"strategy must be one of {STRATEGIES}, not {name!r}.")
  _split_cpu(logical_cpus)
  gpus = tf.config.list_logical_devices("GPU")
  if name == "auto":
    name = "mirrored" if len(gpus) > 1 else "one_device"
  devices = [d.name for d in gpus or tf.config.list_logical_devices("CPU")]
  if name == "one_device":
    return tf.distribute.OneDeviceStrategy(devices[0])
  if len(devices) < 2:
    raise UserError(
      f"strategy=mirrored needs two devices or more, but there is only "
      f"{devices}. To try it on a CPU, add --logical_cpus=2."
    )
  return tf.distribute.MirroredStrategy(devices)


def _split_cpu(count):
  cpu = tf.config.list_physical_devices("CPU")[0]
  present = len(tf.config.get_logical_device_configuration(cpu) or [None])
  if count in (1, present):
    return
  try:
    tf.config.set_logical_device_configuration(
      cpu, [tf.config.LogicalDeviceConfiguration()] * count
    )
  except RuntimeError as error:
    raise UserError(
      f"logical_cpus={count} comes too late: TensorFlow already uses "
      f"{present}. Call make_strategy first."
    ) from error
