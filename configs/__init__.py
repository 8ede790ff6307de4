"""Experiments, one file each: <data>_<model>[_<schedule>][_tpu]_<optimizer>.py.

Besides them: `image_classification`, the fields they fill in, and what several
of them do to another experiment, `lookahead` and `tpu`.
"""
