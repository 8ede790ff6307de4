"""Programs that train the models of the Lookahead paper."""

import os
import sys

from trainers.tpu import libtpu

# TensorFlow's own notices would bury the progress bar. Set before its import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

if (_mistake := libtpu.mismatch()) is not None:
  sys.exit(f"Error: {_mistake}")  # Importing TensorFlow would abort.
