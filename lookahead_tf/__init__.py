"""Lookahead for Keras: k steps forward, 1 step back (arXiv:1907.08610)."""

from lookahead_tf.lookahead import Lookahead
from lookahead_tf.slow_weights import slow_weights
from lookahead_tf.version import __version__

__all__ = ["Lookahead", "__version__", "slow_weights"]
