#!/usr/bin/env bash
# pytorch_optimizer 4.1.0 on torch 2.13.0: with its default arguments Ranger moves
# the weights up the gradient in its first five steps.
#
# Where the second moment is too young for an adaptive step, the step size is -1
# times the learning rate: a mark for "no step", which RAdam of the same library
# heeds. Ranger multiplies the momentum by it. degenerated_to_sgd=True gives the
# steps of the original Ranger.
#
# Seen on 2026-11-28 (CPU, Python 3.11), a weight of 1 with a gradient of 1 and a
# learning rate of .1 after each of seven steps:
#   Ranger:                     1.1 1.2 1.3 1.4 1.5 1.249 1.245
#   with degenerated_to_sgd:    0.9 0.8 0.7 0.6 0.5 0.749 0.745
# Fails if the first step is down the gradient.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python3.11 || command -v python3)
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 pytorch_optimizer==4.1.0 numpy
"$work/venv/bin/python" - <<'PYTHON'
import torch
from pytorch_optimizer import Ranger


def train(**arguments):
  weight = torch.tensor([1.0], requires_grad=True)
  optimizer = Ranger([weight], lr=0.1, **arguments)
  seen = []
  for _ in range(7):
    weight.grad = torch.tensor([1.0])
    optimizer.step()
    seen.append(round(weight.item(), 3))
  return seen


default, sgd = train(), train(degenerated_to_sgd=True)
print("Ranger:                    ", *default)
print("with degenerated_to_sgd:   ", *sgd)
assert default[0] > 1 > sgd[0], (default, sgd)
PYTHON
