"""Lookahead for Keras: k steps forward, 1 step back (arXiv:1907.08610)."""

from lookahead_tf.lookahead import Lookahead
from lookahead_tf.slow_weights import slow_weights

__all__ = ["Lookahead", "slow_weights"]
__version__ = "0.1.0"
