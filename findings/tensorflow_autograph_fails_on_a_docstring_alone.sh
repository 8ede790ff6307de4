#!/usr/bin/env bash
# tensorflow 2.21.0: AutoGraph cannot convert a function whose body is a docstring and
# nothing else, as the methods of a base class that subclasses may fill are. It takes
# the docstring out and leaves a block without a statement, warns that it "could not
# transform" the function, asks to report that, and runs the function as it is. With
# `pass` or `del` behind the docstring there is no warning.
#
# The result is right: a function without statements needs no conversion. But a library
# that calls such a method within a training step makes each of its users see the warning.
#
# Seen on 2026-11-28 (CPU, Python 3.11):
#   docstring alone: warned, "expected an indented block after 'with' statement"
#   docstring and pass: no warning
# Fails if any of that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python3.11 || command -v python3)
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q tensorflow==2.21.0
cat >"$work/program.py" <<'PYTHON'
import logging

import tensorflow as tf

messages = []


class Remember(logging.Handler):
  def emit(self, record):
    messages.append(record.getMessage())


tf.get_logger().addHandler(Remember())


def docstring_alone(x):
  """Does nothing with x."""


def docstring_and_pass(x):
  """Does nothing with x."""
  pass


def warnings_of(function):
  messages.clear()

  @tf.function
  def step(x):
    function(x)
    return x + 1.0

  assert step(tf.constant(1.0)).numpy() == 2.0
  return [m for m in messages if "could not transform" in m]


alone, with_pass = map(warnings_of, (docstring_alone, docstring_and_pass))
print("docstring alone:", alone)
print("docstring and pass:", with_pass)
assert len(alone) == 1 and "indented block after 'with'" in alone[0], alone
assert not with_pass, with_pass
PYTHON
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" "$work/program.py"
