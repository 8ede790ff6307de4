"""Programs that train the models of the Lookahead paper."""

import os

# TensorFlow's own notices would bury the progress bar. Set before its import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
