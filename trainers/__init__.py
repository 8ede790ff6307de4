"""Programs that train the models of the Lookahead paper."""

import sys

from trainers import signals, tensorflow_log
from trainers.tpu import libtpu

# Python has this there while it looks for the module of `python -m`.
if sys.argv[:1] == ["-m"]:
  signals.tell_ctrl_c_by_a_sentence()

if (_mistake := libtpu.mismatch()) is not None:
  sys.exit(f"Error: {_mistake}")  # Importing TensorFlow would abort.

tensorflow_log.limit()
with tensorflow_log.left_out():
  import tensorflow  # noqa: F401 - its log is left out of its first import.
