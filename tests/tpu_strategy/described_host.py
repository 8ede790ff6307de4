"""TPU hosts by description, for a TPUStrategy that only writes graphs.

A TPUStrategy asks its cluster resolver which cores there are. In a `tf.Graph`
it then executes nothing: no TPU is needed to see what one would be given.
"""

import importlib.metadata

import tensorflow as tf

CORES_PER_HOST = 8  # Of v2 and v3.
_JOB = "worker"


class DescribedHosts(tf.distribute.cluster_resolver.ClusterResolver):
  """Answers what a TPUStrategy asks, for hosts that are nowhere.

  Args:
    hosts: Number of hosts, with CORES_PER_HOST cores each: 1 is a v3-8, 4 are a
      v3-32.
  """

  def __init__(self, hosts: int):
    self._hosts = hosts
    self.task_type = _JOB
    self.task_id = 0

  def get_tpu_system_metadata(self) -> tf.tpu.experimental.TPUSystemMetadata:
    """Returns the numbers of hosts and cores, and the names of the devices."""
    devices = []
    for task in range(self._hosts):
      host = f"/job:{_JOB}/replica:0/task:{task}/device"
      devices.append(tf.config.LogicalDevice(f"{host}:CPU:0", "CPU"))
      devices.extend(
        tf.config.LogicalDevice(f"{host}:TPU:{core}", "TPU")
        for core in range(CORES_PER_HOST)
      )
    return tf.tpu.experimental.TPUSystemMetadata(
      num_cores=self._hosts * CORES_PER_HOST,
      num_hosts=self._hosts,
      num_of_cores_per_host=CORES_PER_HOST,
      topology=None,
      devices=devices,
    )

  def cluster_spec(self) -> tf.train.ClusterSpec:
    """Returns an empty cluster: there is nobody to talk to."""
    return tf.train.ClusterSpec({})

  def master(self, task_type=None, task_id=None, rpc_layer=None) -> str:
    """Returns the address of this process."""
    return ""

  def get_job_name(self) -> str:
    """Returns the job in the names of the devices."""
    return _JOB

  def num_accelerators(
    self, task_type=None, task_id=None, config_proto=None
  ) -> dict[str, int]:
    """Returns the number of cores of each host."""
    return {"TPU": CORES_PER_HOST}


def is_tpu_build() -> bool:
  """Whether this TensorFlow was built for TPUs.

  By its package: the devices are not there while another process has libtpu.
  """
  try:
    importlib.metadata.version("tensorflow-tpu")
  except importlib.metadata.PackageNotFoundError:
    return False
  return True
