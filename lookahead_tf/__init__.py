"""Lookahead for Keras: k steps forward, 1 step back (arXiv:1907.08610)."""

try:
  import keras  # noqa: F401
except ModuleNotFoundError as error:
  from lookahead_tf import installation

  raise installation.missing_backend(error) from None

from lookahead_tf.batch_norm import recompute_batch_norm
from lookahead_tf.callbacks import LogSlowWeights, SwapSlowWeights
from lookahead_tf.evaluation import slow_weights
from lookahead_tf.lookahead import Lookahead
from lookahead_tf.methods import (
  diloco,
  ema_nesterov,
  gpa,
  muloco,
  slowmo,
  snoo,
)
from lookahead_tf.migration import unwrap_optimizer, wrap_optimizer
from lookahead_tf.radam import RAdam
from lookahead_tf.ranger import Ranger
from lookahead_tf.step_size import AdaptiveStepSize
from lookahead_tf.tfa import load_tfa_checkpoint, lookahead_from_tfa
from lookahead_tf.version import __version__

__all__ = [
  "AdaptiveStepSize",
  "LogSlowWeights",
  "Lookahead",
  "RAdam",
  "Ranger",
  "SwapSlowWeights",
  "__version__",
  "diloco",
  "ema_nesterov",
  "gpa",
  "load_tfa_checkpoint",
  "lookahead_from_tfa",
  "muloco",
  "recompute_batch_norm",
  "slow_weights",
  "slowmo",
  "snoo",
  "unwrap_optimizer",
  "wrap_optimizer",
]
