"""Programs that check the paper's claims, and compare runs of the trainers."""

import trainers  # noqa: F401 - first of all: TensorFlow's log, and Ctrl-C.
