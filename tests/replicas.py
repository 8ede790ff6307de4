"""Logical CPU devices, so that strategies have replicas on any machine."""

import functools

import tensorflow as tf

_CPU = tf.config.list_physical_devices("CPU")[0]
if not tf.config.get_logical_device_configuration(_CPU):
  tf.config.set_logical_device_configuration(
    _CPU, [tf.config.LogicalDeviceConfiguration()] * 2
  )


@functools.cache
def mirrored() -> tf.distribute.MirroredStrategy:
  """Returns the process' MirroredStrategy over two logical CPUs.

  There is but one: each strategy numbers its collective operations from the
  same start, so that those of two in a process would be taken for one another.
  """
  return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
