"""Measurements: one program a question, each with a table and a picture."""
