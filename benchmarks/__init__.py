"""Measurements of speed and memory, one program a question."""
