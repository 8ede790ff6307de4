"""Lookahead around the optimizer of an experiment."""

import ml_collections
from ml_collections import config_dict


def add_to(
  config: ml_collections.ConfigDict, *, sync_period: int, slow_step_size: float
) -> ml_collections.ConfigDict:
  """Returns `config` with Lookahead, whose fields can be overridden then.

  Args:
    config: An experiment, changed in place.
    sync_period: The paper's k.
    slow_step_size: The paper's alpha.
  """
  config.lookahead = config_dict.create(
    sync_period=sync_period,
    slow_step_size=slow_step_size,
    inner_state="maintain",
    exclude=(),
  )
  return config
