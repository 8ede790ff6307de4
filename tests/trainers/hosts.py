"""Hosts of a run, for tests of what each host reads."""

import tensorflow as tf


def input_context(
  replicas: int = 1, hosts: int = 1, host: int = 0
) -> tf.distribute.InputContext:
  """Returns what a strategy tells the input pipeline of a host.

  Args:
    replicas: Number of replicas of all hosts.
    hosts: Number of hosts.
    host: Number of this host, from 0.
  """
  return tf.distribute.InputContext(hosts, host, replicas)
