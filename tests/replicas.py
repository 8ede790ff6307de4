"""Logical CPU devices, so that strategies have replicas on any machine."""

import tensorflow as tf

_CPU = tf.config.list_physical_devices("CPU")[0]
if not tf.config.get_logical_device_configuration(_CPU):
  tf.config.set_logical_device_configuration(
    _CPU, [tf.config.LogicalDeviceConfiguration()] * 2
  )


def mirrored(replicas: int = 2) -> tf.distribute.MirroredStrategy:
  """Returns a MirroredStrategy over logical CPUs."""
  return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
