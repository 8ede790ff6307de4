"""Which operations TensorFlow's compiler can put on a TPU."""

import functools

import tensorflow as tf
from tensorflow.python.framework import kernels

_DEVICE = "XLA_TPU_JIT"
# What the compiler takes away before it asks for kernels.
_OF_THE_GRAPH = {"Placeholder", "TPUReplicateMetadata"}


def has_kernel(operation: tf.Operation) -> bool:
  """Whether the TPU build compiles an operation, for the types that it has."""
  attributes = operation.node_def.attr
  return operation.type in _OF_THE_GRAPH or any(
    all(
      attributes[constraint.name].type in constraint.allowed_values.list.type
      for constraint in kernel.constraint
      if attributes[constraint.name].WhichOneof("value") == "type"
    )
    for kernel in _kernels(operation.type)
  )


@functools.cache
def _kernels(kind):
  _register()
  return [
    kernel
    for kernel in kernels.get_registered_kernels_for_op(kind).kernel
    if kernel.device_type == _DEVICE
  ]


@functools.cache
def _register():
  """Lets the compiler register its kernels, which it does at its first use."""
  with tf.init_scope():
    function = tf.function(lambda x: x + 1.0, jit_compile=True)
    lower = function.experimental_get_compiler_ir(tf.constant(1.0))
    lower(stage="hlo", platform_name="TPU")
