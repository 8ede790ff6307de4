"""From flags to a tf.distribute strategy."""

import json
import os

import tensorflow as tf

from trainers import tpu_node
from trainers.errors import UserError

STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")

_TF_CONFIG = (
  'TF_CONFIG=\'{"cluster": {"worker": ["host0:12345", "host1:12345"]}, '
  '"task": {"type": "worker", "index": 0}}\''
)


def make_strategy(
  name: str = "auto",
  logical_cpus: int = 1,
  tpu: str | None = None,
  tpu_zone: str | None = None,
  gcp_project: str | None = None,
) -> tf.distribute.Strategy:
  """Returns the strategy of that name.

  Args:
    name: One of STRATEGIES. "auto" is "tpu" if `tpu` is given, "multi_worker"
      if TF_CONFIG is set, "mirrored" on several GPUs, and else
      "one_device".
    logical_cpus: Number of devices to split the CPU into. TensorFlow allows
      that only before it has used its devices.
    tpu: "local" on a TPU VM, or the name of a TPU node.
    tpu_zone: Google Cloud zone of the node, if it is named.
    gcp_project: Google Cloud project of the node, if it is named.

  Raises:
    UserError: if the devices cannot be had.
  """
  if name not in STRATEGIES:
    raise UserError(f"strategy must be one of {STRATEGIES}, not {name!r}.")
  if name == "auto":
    name = _best_strategy(tpu)
  if tpu and name != "tpu":
    raise UserError(f"--tpu={tpu} goes with --strategy=tpu, not {name}.")
  if name == "tpu":
    return tpu_node.connect(tpu, tpu_zone, gcp_project)
  if name == "multi_worker":
    _check_tf_config()
    return tf.distribute.MultiWorkerMirroredStrategy()
  _split_cpu(logical_cpus)
  gpus = tf.config.list_logical_devices("GPU")
  devices = [d.name for d in gpus or tf.config.list_logical_devices("CPU")]
  if name == "one_device":
    return tf.distribute.OneDeviceStrategy(devices[0])
  if len(devices) < 2:
    raise UserError(
      f"strategy=mirrored needs two devices or more, but there is only "
      f"{devices}. To try it on a CPU, add --logical_cpus=2."
    )
  return tf.distribute.MirroredStrategy(devices)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
  """Whether this process is the one of its strategy that writes files."""
  return strategy.extended.should_checkpoint


def _best_strategy(tpu):
  if tpu:
    return "tpu"
  if os.environ.get("TF_CONFIG"):
    return "multi_worker"
  gpus = tf.config.list_physical_devices("GPU")
  return "mirrored" if len(gpus) > 1 else "one_device"


def _check_tf_config():
  """Raises a UserError unless TF_CONFIG says who the workers are."""
  text = os.environ.get("TF_CONFIG", "")
  if not text:
    raise UserError(
      "strategy=multi_worker needs the environment variable TF_CONFIG in each "
      f"process, for the first of two: {_TF_CONFIG}"
    )
  try:
    config = json.loads(text)
    tasks = config["cluster"][config["task"]["type"]]
    index = int(config["task"]["index"])
  except (KeyError, TypeError, ValueError) as error:
    raise UserError(
      f"TF_CONFIG must be JSON such as {_TF_CONFIG}. Received: {text!r} "
      f"({type(error).__name__}: {error})"
    ) from error
  if not 0 <= index < len(tasks):
    raise UserError(
      f"TF_CONFIG names {len(tasks)} processes of type "
      f"{config['task']['type']!r}, so task.index must be 0 to "
      f"{len(tasks) - 1}. Received: {index}"
    )


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
