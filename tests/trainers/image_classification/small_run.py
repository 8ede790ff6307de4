"""Runs of a tiny CNN on the digits."""

import ml_collections

from configs import digits


def config(**fields) -> ml_collections.ConfigDict:
  """Returns an experiment of 22 steps, locked.

  Args:
    **fields: Other values of fields such as "model.width".
  """
  made = digits.get_config("lookahead")
  made.update_from_flattened_dict(
    {
      "num_epochs": 1.0,
      "model.width": 4,
      "steps_per_loop": 5,
      "eval_every_epochs": 0.5,
      "checkpoint_every_epochs": 0.5,
      "lookahead.sync_period": 4,
      **fields,
    }
  )
  return made.lock()
