"""Programs that compare runs of the trainers: tables and figures."""

import trainers  # noqa: F401 - first of all: TensorFlow's log, and Ctrl-C.
