"""Experiments, one file each: <data>_<model>_<optimizer>.py."""
