"""A TPUStrategy for the TPU node that the flags name."""

import tensorflow as tf

from trainers.errors import UserError


def connect(
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
    raise UserError(explain(tpu, error)) from error


def check_paths(tpu: str | None, **paths: str | None) -> None:
  """Raises a UserError for a path that the hosts of a TPU node cannot see.

  Args:
    tpu: As for `connect`.
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


def explain(tpu: str, error: Exception) -> str:
  """Returns a sentence on why a TPU could not be had, and what to do."""
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
      "installed, and goes with no TensorFlow of today. Give the hosts' "
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
