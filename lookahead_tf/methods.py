"""Methods of the family of Lookahead, by the names that they were published by.

Each is a Lookahead with the arguments of its publication; `repr` of the result
shows all of them. docs/outer_rules.md compares the methods.
"""

from typing import Any

from lookahead_tf.backends import backend
from lookahead_tf.every_step_rules import EmaNesterov, PrimalAveraging
from lookahead_tf.lookahead import Lookahead


def snoo(
  inner_optimizer: Any,
  sync_period: int = 28,
  slow_step_size: Any = 0.68,
  slow_momentum: Any = 0.37,
  **arguments: Any,
) -> Lookahead:
  """Returns SNOO: Lookahead with Nesterov momentum of the slow weights.

    b = mu b + s
    phi = phi - eta (s + mu b)

  with s = phi - theta at the end of a period. It needs two copies of the
  parameters more than the inner optimizer: slow weights and momentum. With
  `slow_momentum=0` it is Lookahead.

  Do not use it with a momentum that still runs at the end of training, where it
  makes the slow weights noisier: give schedules, which count periods.

  Args:
    inner_optimizer: A Keras optimizer, its name or its config.
    sync_period: Integer, the number of inner updates in a period. The default,
      as those below, is that of the published run of record; the paper's best
      for 125 million parameters are 100, .8 and .75.
    slow_step_size: Float in [0, 1] or a schedule over periods, eta.
    slow_momentum: Float in [0, 1) or a schedule over periods, mu.
    **arguments: Further arguments of Lookahead.

  Raises:
    TypeError: as Lookahead does.
    ValueError: as Lookahead does.

  Reference:
    arXiv 2510.15830.
  """
  return _lookahead(
    "snoo",
    inner_optimizer,
    arguments,
    sync_period=sync_period,
    slow_step_size=slow_step_size,
    slow_momentum=slow_momentum,
    slow_nesterov=True,
    outer_optimizer=None,
  )


def diloco(
  inner_optimizer: Any,
  sync_period: int = 500,
  slow_step_size: Any = 0.7,
  slow_momentum: Any = 0.9,
  **arguments: Any,
) -> Lookahead:
  """Returns DiLoCo: Nesterov momentum over long periods of local steps.

  The equation, and the memory of two copies, are those of `snoo`; theta is the
  mean of the weights of all replicas, which make the steps of a period by
  themselves (`local_steps=True`). Do not use it with one replica in a run of
  few periods, where the momentum does nothing.

  Args:
    inner_optimizer: A Keras optimizer; the paper has AdamW.
    sync_period: Integer, the number of inner updates in a period.
    slow_step_size: Float in [0, 1] or a schedule over periods.
    slow_momentum: Float in [0, 1) or a schedule over periods.
    **arguments: Further arguments of Lookahead. `local_steps=False` lets
      replicas sum their gradients in each step.

  Raises:
    TypeError: as Lookahead does.
    ValueError: as Lookahead does.

  Reference:
    arXiv 2311.08105.
  """
  return _locally(
    inner_optimizer, sync_period, slow_step_size, slow_momentum, arguments
  )


def muloco(
  inner_optimizer: Any,
  sync_period: int = 30,
  slow_step_size: Any = 0.7,
  slow_momentum: Any = 0.6,
  **arguments: Any,
) -> Lookahead:
  """Returns MuLoCo: DiLoCo around Muon, with shorter periods.

  Args:
    inner_optimizer: A Keras optimizer, `keras.optimizers.Muon(...)`. Around
      AdamW the paper has a `slow_momentum` of .9.
    sync_period: Integer, the number of inner updates in a period.
    slow_step_size: Float in [0, 1] or a schedule over periods.
    slow_momentum: Float in [0, 1) or a schedule over periods.
    **arguments: As for `diloco`.

  Raises:
    TypeError: as Lookahead does.
    ValueError: as Lookahead does.

  Reference:
    arXiv 2505.23725.
  """
  return _locally(
    inner_optimizer, sync_period, slow_step_size, slow_momentum, arguments
  )


def slowmo(
  inner_optimizer: Any,
  sync_period: int,
  slow_momentum: Any = 0.5,
  slow_step_size: Any = 1.0,
  **arguments: Any,
) -> Lookahead:
  """Returns SlowMo: heavy-ball momentum of the slow weights.

    u = beta u + s
    phi = phi - alpha u

  It needs two copies of the parameters more than the inner optimizer. The
  published form divides s by the learning rate of the inner optimizer, and
  multiplies by it again. That is the same for a constant learning rate, and not
  where the learning rate follows a schedule.

  Args:
    inner_optimizer: A Keras optimizer.
    sync_period: Integer, the number of inner updates in a period.
    slow_momentum: Float in [0, 1) or a schedule over periods, beta: .5 to .8 in
      the paper.
    slow_step_size: Float in [0, 1] or a schedule over periods, alpha.
    **arguments: Further arguments of Lookahead.

  Raises:
    TypeError: as Lookahead does.
    ValueError: as Lookahead does.

  Reference:
    arXiv 1910.00643.
  """
  return _lookahead(
    "slowmo",
    inner_optimizer,
    arguments,
    sync_period=sync_period,
    slow_step_size=slow_step_size,
    slow_momentum=slow_momentum,
    slow_nesterov=False,
    outer_optimizer=None,
  )


def ema_nesterov(
  inner_optimizer: Any,
  lead: Any = 0.5,
  decay: float = 0.99,
  **arguments: Any,
) -> Lookahead:
  """Returns EMA-Nesterov: fast weights ahead by an average of the updates.

    m = g m + (1 - g) (b m - s)
    phi = phi - s + b m

  after each update. It needs two copies of the parameters more than the inner
  optimizer: the weights to evaluate, which the slow weights are, and m. Each
  call of `fit` starts the average anew.

  Do not use it at the beginning or the end of training: its published runs have
  a lead of 0 there. Give a schedule over updates.

  Args:
    inner_optimizer: A Keras optimizer.
    lead: Float in [0, 1) or a schedule over updates, b: .3 to .6 in the paper.
    decay: Float in [0, 1), g.
    **arguments: Further arguments of Lookahead, but for `sync_period`.

  Raises:
    TypeError: as Lookahead does.
    ValueError: as Lookahead does.

  Reference:
    arXiv 2605.25395.
  """
  rule = EmaNesterov(lead, decay)
  return _lookahead(
    "ema_nesterov",
    inner_optimizer,
    arguments,
    sync_period=1,
    outer_optimizer=rule,
  )


def gpa(
  inner_optimizer: Any,
  mu_x: float = 0.9967,
  mu_y: float = 0.7,
  **arguments: Any,
) -> Lookahead:
  """Returns GPA, generalized primal averaging, around an optimizer.

    z = z - s
    x = mu_x x + (1 - mu_x) z
    phi = mu_y x + (1 - mu_y) z

  after each update, which the inner optimizer makes at phi. It needs two copies
  of the parameters more than the inner optimizer: x, the weights to evaluate,
  which the slow weights are, and z. Each call of `fit` starts the average anew.

  Give the inner optimizer less momentum than it has without GPA: the average
  acts as momentum.

  Args:
    inner_optimizer: A Keras optimizer.
    mu_x: Float in [0, 1): the weight of the average before each update. The
      paper takes .9 ** (1 / n) for an average over n updates.
    mu_y: Float in [0, 1]: how near to the average gradients are computed.
    **arguments: Further arguments of Lookahead, but for `sync_period`.

  Raises:
    TypeError: as Lookahead does.
    ValueError: as Lookahead does.

  Reference:
    arXiv 2512.17131.
  """
  rule = PrimalAveraging(mu_x, mu_y)
  return _lookahead(
    "gpa",
    inner_optimizer,
    arguments,
    sync_period=1,
    outer_optimizer=rule,
  )


def _locally(inner_optimizer, sync_period, step_size, momentum, arguments):
  """Returns SNOO with local steps where the backend has replicas."""
  has_replicas = backend.replicas is not None
  return snoo(
    inner_optimizer,
    sync_period,
    step_size,
    momentum,
    **{"local_steps": has_replicas} | arguments,
  )


def _lookahead(method, inner_optimizer, given, **of_method):
  """Returns a Lookahead with the arguments of a method and those given."""
  for name in given:
    if name in of_method:
      raise TypeError(
        f"`{name}` must be left out of {method}, which has "
        f"{name}={of_method[name]!r}; Lookahead takes others. Received: "
        f"{name}={given[name]!r}"
      )
  return Lookahead(inner_optimizer, **of_method, **given)
