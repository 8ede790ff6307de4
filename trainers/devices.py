"""Devices: the strategy that the flags name, TPU nodes, precision, and XLA."""

import dataclasses
import functools
import json
import os
import warnings
from collections.abc import Callable, Mapping

import keras
import tensorflow as tf
from tensorflow.python.eager import context

from lookahead_tf.backends import backend
from trainers import hardware, tensorflow_log
from trainers.errors import UserError

STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")

_TF_CONFIG = (
  'TF_CONFIG=\'{"cluster": {"worker": ["host0:12345", "host1:12345"]}, '
  '"task": {"type": "worker", "index": 0}}\''
)
# How long a process may be silent before the others take it for lost. Its
# heartbeat waits behind the weights that it sends: with TensorFlow's own 10
# seconds a run at 20 Mbit/s ended at the first 45 MB.
_HEARTBEAT_TIMEOUT_MS = 300_000
PRECISIONS = {
  "float32": "float32",
  "bfloat16": "mixed_bfloat16",
  "float16": "mixed_float16",
}


@dataclasses.dataclass(frozen=True)
class Runtime:
  """What the flags that all trainers share say.

  Attributes:
    strategy: How the devices are used.
    workdir: Directory of the run.
    data_dir: Where the data is, if it is on disk.
    profile_steps: The first and the last step to write a trace of, or None.
    fake_data: Whether to make up the data.
    init_from: Directory of a run whose weights to start with, or None.
    on_evaluation: Called after each evaluation, when its metrics are written
      and its checkpoint is saved, with the epoch and the metrics by name, such
      as "accuracy". Whatever it raises ends the training.
  """

  strategy: tf.distribute.Strategy
  workdir: str
  data_dir: str | None = None
  profile_steps: tuple[int, int] | None = None
  fake_data: bool = False
  init_from: str | None = None
  on_evaluation: Callable[[float, Mapping[str, float]], None] = (
    lambda epoch, metrics: None
  )

  @property
  def is_chief(self) -> bool:
    """Whether this process is the one that writes files."""
    return is_chief(self.strategy)


def set_precision(name: str) -> None:
  """Sets the dtype policy of all layers made from now on.

  Args:
    name: A key of PRECISIONS. Weights are float32 in each case; "bfloat16" and
      "float16" compute in these, the latter with a scaled loss.

  Raises:
    UserError: if there is no such precision.
  """
  if name not in PRECISIONS:
    raise UserError(f"precision must be one of {[*PRECISIONS]}, not {name!r}.")
  keras.config.set_dtype_policy(PRECISIONS[name])


def precision() -> str:
  """Returns the name of the precision that is set, a key of PRECISIONS."""
  policy = keras.config.dtype_policy().name
  return next(name for name, value in PRECISIONS.items() if value == policy)


def is_on_cpu(strategy: tf.distribute.Strategy) -> bool:
  """Whether a strategy computes on CPUs."""
  is_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
  return not is_tpu and not tf.config.list_logical_devices("GPU")


def warn_of_slow_precision(strategy: tf.distribute.Strategy) -> None:
  """Warns where the precision that is set is slower than float32.

  Of all precisions only bfloat16 is looked at, on CPUs without instructions for
  it.

  Args:
    strategy: The strategy to compute with.
  """
  if precision() != "bfloat16" or not is_on_cpu(strategy):
    return
  if reason := hardware.why_bfloat16_is_slow(hardware.find_cpu()):
    warnings.warn(reason, stacklevel=2)


def describe_precision(strategy: tf.distribute.Strategy) -> str:
  """Returns the precision in a few words, and how a CPU computes bfloat16."""
  name = precision()
  if name != "bfloat16" or not is_on_cpu(strategy):
    return name
  products = hardware.bfloat16_products(hardware.find_cpu())
  how = f"the CPU's {products}" if products else "slow, by conversion"
  return f"{name} ({how}; weights, loss and update are float32)"


def set_seed(seed: int) -> None:
  """Sets the seeds of Python, NumPy, TensorFlow and Keras.

  Args:
    seed: That of a config, in [0, 2**32 - 2].
  """
  # Not 0: TensorFlow reads a seed pair of zeros as none, and tests for it in a
  # way that fails where a dataset's seed is a tensor.
  keras.utils.set_random_seed(seed + 1)


def uses_xla(
  jit_compile: bool | None, strategy: tf.distribute.Strategy, on_cpu: bool
) -> bool:
  """Returns whether XLA compiles one replica's step.

  Args:
    jit_compile: The config's field; None for what is fastest.
    strategy: The strategy.
    on_cpu: Whether the step is faster with XLA on a CPU too.
  """
  if jit_compile is not None:
    return jit_compile
  # On a TPU the strategy compiles by itself, and XLA on CPU and GPU compiles no
  # step in which replicas meet.
  is_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
  if is_tpu or strategy.num_replicas_in_sync > 1:
    return False
  if tf.config.list_logical_devices("GPU"):
    return True
  return on_cpu and backend.has_xla("CPU:0")


def uses_xla_within(
  jit_compile: bool | None, strategy: tf.distribute.Strategy
) -> bool:
  """Returns whether XLA compiles parts of a step that stays a graph.

  This pays on CPUs, where oneDNN has the faster products and XLA the faster
  passes over large tensors.

  Args:
    jit_compile: The config's field; None for what is fastest.
    strategy: The strategy.
  """
  return (
    jit_compile is None and is_on_cpu(strategy) and backend.has_xla("CPU:0")
  )


def look_for_gpus() -> None:
  """Has TensorFlow look for GPUs now, without the log of that.

  TensorFlow has `absl.app.run` do so.
  """
  with tensorflow_log.left_out():
    tf.config.list_physical_devices()


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

  Warns of a GPU that is there and cannot be used.

  Raises:
    UserError: if the devices are not available.
  """
  if name not in STRATEGIES:
    raise UserError(f"strategy must be one of {STRATEGIES}, not {name!r}.")
  if name == "auto":
    name = "tpu" if tpu else "auto"
  if tpu and name != "tpu":
    raise UserError(f"--tpu={tpu} goes with --strategy=tpu, not {name}.")
  if name == "tpu":
    return connect_to_tpu(tpu, tpu_zone, gcp_project)
  with tensorflow_log.left_out():
    found = hardware.find_gpus()
    strategy = _make_local_strategy(name, logical_cpus)
  if reason := hardware.why_unused(found):
    warnings.warn(reason, stacklevel=2)
  return strategy


def _make_local_strategy(name, logical_cpus):
  """Returns the strategy of that name on devices that are no TPU."""
  if name == "auto":
    name = _best_strategy()
  if name == "multi_worker":
    _check_tf_config()
    return _make_multi_worker()
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


def _make_multi_worker():
  """Returns the strategy, whose processes wait long for a heartbeat."""
  eager = context.context()
  # The strategy calls it without a timeout.
  eager.configure_coordination_service = functools.partial(
    eager.configure_coordination_service,
    heartbeat_timeout_in_ms=_HEARTBEAT_TIMEOUT_MS,
  )
  try:
    return tf.distribute.MultiWorkerMirroredStrategy()
  finally:
    del eager.configure_coordination_service


def describe(strategy: tf.distribute.Strategy) -> str:
  """Returns in a few words which devices a strategy uses, and its name."""
  kind, name = "CPU", "one_device"
  if gpus := tf.config.list_physical_devices("GPU"):
    details = tf.config.experimental.get_device_details(gpus[0])
    kind = details.get("device_name", "GPU")
  if isinstance(strategy, tf.distribute.TPUStrategy):
    kind, name = "TPU core", "tpu"
  elif isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
    name = "multi_worker"
  elif isinstance(strategy, tf.distribute.MirroredStrategy):
    name = "mirrored"
  count = strategy.num_replicas_in_sync
  return f"{kind if count == 1 else f'{count} x {kind}'}, --strategy={name}"


def is_chief(strategy: tf.distribute.Strategy) -> bool:
  """Whether this process is the one of its strategy that writes files."""
  return strategy.extended.should_checkpoint


def _best_strategy():
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


def connect_to_tpu(
  tpu: str | None, zone: str | None = None, project: str | None = None
) -> tf.distribute.Strategy:
  """Returns a strategy for all cores of a TPU node, which is reset for it.

  Args:
    tpu: "local" (or None) on a TPU VM, or the name of a node or pod slice.
    zone: Google Cloud zone of a named node; None for that of this machine.
    project: Google Cloud project of a named node; None for the default.

  Raises:
    UserError: if there is no such TPU, or no software here that can use it.
  """
  tpu = tpu or "local"
  try:
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
      tpu=tpu, zone=zone, project=project
    )
    if tpu != "local":
      tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)
  except Exception as error:  # Google's client raises many kinds.
    raise UserError(explain_tpu_error(tpu, error)) from error


def check_paths(tpu: str | None, **paths: str | None) -> None:
  """Raises a UserError for a path that the hosts of a TPU node cannot see.

  Args:
    tpu: As for `connect_to_tpu`.
    **paths: Values of flags, by the flags' names.
  """
  if tpu in (None, "local"):
    return
  for name, path in paths.items():
    if path and "://" not in path:
      raise UserError(
        f"--{name}={path} is on this machine, but the hosts of --tpu={tpu} "
        "have to see it: put it into a bucket, gs://BUCKET/..."
      )


def explain_tpu_error(tpu: str, error: Exception) -> str:
  """Returns a sentence on why a TPU is not available, and what to do."""
  text = " ".join(str(error).split())
  if "ConfigureDistributedTPU" in text and "No OpKernel" in text:
    return (
      f"This TensorFlow ({tf.__version__}) is a build without TPU kernels: "
      "install requirements-tpu.txt in an environment of its own, as "
      "docs/tpu.md says."
    )
  if "cloud-tpu-client" in text or "cloud_tpu_client" in text:
    return (
      f"--tpu={tpu} cannot be looked up: Google's cloud-tpu-client is not "
      "installed, and supports no current TensorFlow. Give the hosts' "
      "addresses, --tpu=grpc://IP:8470,..., as docs/tpu.md says, or on the TPU "
      "VM itself --tpu=local."
    )
  if "in use" in text or "busy" in text.lower():
    return (
      "Another process on this machine has the TPU: stop it, or wait for its "
      f"end. TensorFlow says: {type(error).__name__}: {text[:200]}"
    )
  if tpu == "local":
    return (
      "This machine has no TPU that TensorFlow can use, so --strategy=tpu "
      "needs --tpu=NAME of a node, or to run on the TPU VM itself. TensorFlow "
      f"says: {type(error).__name__}: {text[:200]}"
    )
  return (
    f"--tpu={tpu} cannot be reached: give the name that `gcloud compute tpus "
    "tpu-vm list` shows, with its --tpu_zone and --gcp_project. The answer "
    f"was: {type(error).__name__}: {text[:200]}"
  )
