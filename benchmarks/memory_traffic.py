"""The least that Lookahead can cost, if memory traffic is all that costs.

The tensors of a model do not fit into the caches, and an optimizer computes
little with each number: its time is that of reading and writing. In units of
N, the bytes of the parameters:

* A step of SGD with momentum reads w, m and g and writes w and m: 5 N.
* A step of Adam reads w, m, v and g and writes w, m and v: 7 N.
* A synchronization as a pass of its own reads the fast and the slow weights
  and writes both: 4 N once a period.
* Fused into the last update of a period it finds the fast weights at hand: it
  reads and writes the slow weights, 2 N once a period.
"""

INNER_STEP = {"sgd": 5, "adam": 7}
SYNCHRONIZATION = {"separate pass": 4, "fused pass": 2}


def bound(inner: str, sync_period: int, synchronization: str) -> float:
  """Returns the ratio of a step with Lookahead to one of its inner optimizer.

  A ratio below it does not mean less traffic than this, but an inner optimizer
  with more: TensorFlow without XLA makes a pass for each operation.

  Args:
    inner: A key of INNER_STEP.
    sync_period: Steps in a period.
    synchronization: A key of SYNCHRONIZATION.
  """
  return 1 + SYNCHRONIZATION[synchronization] / (
    INNER_STEP[inner] * sync_period
  )
