"""The CIFAR-10 speed run in PyTorch, for server.py to time and to train alone.

The recipe is that of `--config=configs/cifar.py:speedrun`, of which
docs/speedrun.md tells. As PyTorch's own advice for CPUs has it, memory is
channels last and SGD is one kernel.

python benchmarks/peers/speedrun.py --data=ARRAYS.npz --seed=0

trains the whole recipe, and prints the accuracy and the seconds after each
epoch as JSON. ARRAYS.npz holds uint8 `train_images` (examples, 32, 32, 3) and
`validation_images`, and integers `train_labels` and `validation_labels`.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

Runners = dict[str, Callable[[int], float]]

_MEAN, _STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
_BATCH_SIZE = 1024
_MOMENTUM, _RATE, _DECAY, _BIAS_FACTOR = 0.85, 11.5, 0.0153, 64.0
_LABEL_SMOOTHING = 0.2
_WARMUP, _START, _END = 0.23, 0.2, 0.07
_PERIOD, _FALL = 5, 0.95**5
_BIAS_EPOCHS = 3


class _Scale(nn.Module):
  def forward(self, x):
    return x / 9


def _convolution(inputs, outputs):
  layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
  copied = min(inputs, outputs)
  nn.init.dirac_(layer.weight.data[:copied])
  return layer


def _norm(channels):
  layer = nn.BatchNorm2d(channels, eps=1e-12, momentum=0.4)
  layer.weight.requires_grad = False
  return layer


def _network(width):
  """Returns the network, whose first layer does not train its kernel."""
  whitening = nn.Conv2d(3, 24, 2)
  whitening.weight.requires_grad = False
  modules, inputs = [whitening, nn.GELU()], 24
  for factor in (1, 4, 4):
    outputs = width * factor
    modules += [_convolution(inputs, outputs), nn.MaxPool2d(2)]
    modules += [_norm(outputs), nn.GELU()]
    modules += [_convolution(outputs, outputs), _norm(outputs), nn.GELU()]
    inputs = outputs
  modules += [nn.MaxPool2d(3), nn.Flatten()]
  modules += [nn.Linear(inputs, 10, bias=False), _Scale()]
  return nn.Sequential(*modules).to(memory_format=torch.channels_last)


def _optimizer(network, batch_size):
  """Returns SGD for the summed loss, at the greatest rate."""
  kilostep = 1024 * (1 + 1 / (1 - _MOMENTUM))
  rate = _RATE / kilostep
  decay = _DECAY * batch_size / kilostep / rate
  norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
  biases = [norm.bias for norm in norms]
  others = [
    p
    for p in network.parameters()
    if p.requires_grad and not any(p is bias for bias in biases)
  ]
  groups = [
    dict(
      params=biases, lr=rate * _BIAS_FACTOR, weight_decay=decay / _BIAS_FACTOR
    ),
    dict(params=others, lr=rate, weight_decay=decay),
  ]
  return torch.optim.SGD(groups, momentum=_MOMENTUM, nesterov=True, fused=True)


class _Lookahead:
  """Lookahead over all floating entries of a network's state."""

  def __init__(self, network):
    self._fast = [
      v for v in network.state_dict().values() if v.is_floating_point()
    ]
    self._slow = [v.clone() for v in self._fast]

  def synchronize(self, step_size):
    torch._foreach_lerp_(self._slow, self._fast, step_size)
    torch._foreach_copy_(self._fast, self._slow)


def _loss(logits, labels):
  return functional.cross_entropy(
    logits, labels, label_smoothing=_LABEL_SMOOTHING, reduction="sum"
  )


def step(
  batch_size: int,
  threads: int,
  precision: str = "float32",
  clock: str = "wall",
  width: int = 64,
  compiles: bool = False,
) -> Runners:
  """Returns runners of training steps on one batch, always the same.

  "bare" is SGD alone, "lookahead" has Lookahead around it.

  Args:
    batch_size: Images in a step.
    threads: Threads that an operation may use.
    precision: "float32", or "bfloat16" for PyTorch's autocast.
    clock: "wall", or "cpu" for the CPU time of all threads.
    width: Channels of the first group.
    compiles: Whether to use `torch.compile`.
  """
  torch.set_num_threads(threads)
  torch.manual_seed(0)
  images = torch.rand(batch_size, 3, 32, 32)
  images = images.to(memory_format=torch.channels_last)
  labels = torch.randint(10, (batch_size,))
  now = {"wall": time.perf_counter, "cpu": time.process_time}[clock]

  def runner(has_lookahead):
    network = _network(width)
    forward = torch.compile(network) if compiles else network
    optimizer = _optimizer(network, batch_size)
    lookahead = _Lookahead(network)

    def run(steps):
      started = now()
      for i in range(steps):
        optimizer.zero_grad()
        with _autocast(precision):
          loss = _loss(forward(images), labels)
        loss.backward()
        optimizer.step()
        if has_lookahead and (i + 1) % _PERIOD == 0:
          lookahead.synchronize(0.5)
      return (now() - started) / steps

    return run

  return {"bare": runner(False), "lookahead": runner(True)}


def _autocast(precision):
  return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")


def _normalized(images):
  """Returns uint8 images (examples, 32, 32, 3) as PyTorch wants them."""
  scaled = torch.from_numpy(images).float() / 255
  scaled = (scaled - torch.tensor(_MEAN)) / torch.tensor(_STD)
  return scaled.permute(0, 3, 1, 2)  # Channels last in memory.


def _whiten(layer, images):
  """Gives the first layer its filters, from normalized images."""
  patches = functional.unfold(images.contiguous(), 2)  # (n, 3 * 2 * 2, places)
  patches = patches.transpose(1, 2).reshape(-1, 12).double()
  variances, vectors = torch.linalg.eigh(torch.cov(patches.T))
  filters = (vectors / torch.sqrt(variances + 5e-4)).T.flip(0)
  filters = torch.cat([filters, -filters]).float().reshape(24, 3, 2, 2)
  layer.weight.data.copy_(filters)


def _shifted(padded, generator):
  """Returns a window of each padded image, at random places."""
  count = len(padded)
  offsets = torch.randint(5, (2, count, 1), generator=generator)
  y, x = offsets + torch.arange(32)
  rows = torch.arange(count)[:, None, None]
  # Indices around a slice put the channels last, as they are in memory.
  return padded[rows, :, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)


def _accuracy(network, images, labels):
  """Returns the accuracy with test-time augmentation."""
  network.eval()

  def mirrored(x):
    return (network(x) + network(x.flip(3))) / 2

  correct = 0
  with torch.inference_mode():
    for x, y in zip(images.split(500), labels.split(500)):
      padded = functional.pad(x, (1,) * 4, "reflect")
      shifted = mirrored(padded[:, :, :32, :32])
      shifted = shifted + mirrored(padded[:, :, 2:, 2:])
      logits = mirrored(x) / 2 + shifted / 4
      correct += int((logits.argmax(1) == y).sum())
  network.train()
  return correct / len(labels)


def train(
  data: str,
  seed: int = 0,
  epochs: float = 9.9,
  width: int = 64,
  has_lookahead: bool = True,
  batch_size: int = _BATCH_SIZE,
  precision: str = "float32",
) -> None:
  """Trains the recipe and prints a line of JSON after each epoch.

  The seconds count from the call, and leave the evaluations out.

  Args:
    data: Path of the arrays.
    seed: Of initialization, shuffling and augmentation.
    epochs: Length of the run.
    width: Channels of the first group.
    has_lookahead: Whether Lookahead is around SGD.
    batch_size: Images in a step.
    precision: "float32", or "bfloat16" for PyTorch's autocast.
  """
  started = time.perf_counter()
  torch.manual_seed(seed)
  generator = torch.Generator().manual_seed(seed)
  arrays = np.load(data)
  images = _normalized(arrays["train_images"])
  labels = torch.from_numpy(arrays["train_labels"].astype("int64"))
  validation = (
    _normalized(arrays["validation_images"]),
    torch.from_numpy(arrays["validation_labels"].astype("int64")),
  )
  network = _network(width)
  _whiten(network[0], images[:: max(1, len(images) // 5000)][:5000])
  optimizer = _optimizer(network, batch_size)
  lookahead = _Lookahead(network)
  peaks = [group["lr"] for group in optimizer.param_groups]
  flipped = torch.rand(len(images), generator=generator) < 0.5
  images[flipped] = images[flipped].flip(3)
  padded = functional.pad(images, (2,) * 4, "reflect")
  padded = padded.contiguous(memory_format=torch.channels_last)
  per_epoch = len(images) // batch_size
  total = int(np.ceil(epochs * per_epoch))
  done, evaluating = 0, 0.0
  for epoch in range(int(np.ceil(epochs))):
    network[0].bias.requires_grad = epoch < _BIAS_EPOCHS
    order = torch.randperm(len(images), generator=generator)
    for i in range(min(per_epoch, total - done)):
      factor = np.interp(
        done, [0, int(_WARMUP * total), total], [_START, 1, _END]
      )
      for group, peak in zip(optimizer.param_groups, peaks):
        group["lr"] = peak * factor
      chosen = order[i * batch_size : (i + 1) * batch_size]
      batch = _shifted(padded[chosen], generator)
      batch = batch.flip(3) if epoch % 2 else batch
      optimizer.zero_grad()
      with _autocast(precision):
        loss = _loss(network(batch), labels[chosen])
      loss.backward()
      optimizer.step()
      done += 1
      if has_lookahead and done % _PERIOD == 0:
        lookahead.synchronize(1 - _FALL * (done / total) ** 3)
    if has_lookahead and done == total:
      lookahead.synchronize(0.0)
    paused = time.perf_counter()
    evaluated = copy.deepcopy(network)
    with _autocast(precision):
      accuracy = _accuracy(evaluated, *validation)
    evaluating += time.perf_counter() - paused
    seconds = time.perf_counter() - started - evaluating
    line = {"step": done, "accuracy": accuracy, "seconds": round(seconds, 2)}
    print(json.dumps(line), flush=True)


def main() -> None:
  """Trains as the command line says."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--data", required=True)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--epochs", type=float, default=9.9)
  parser.add_argument("--width", type=int, default=64)
  parser.add_argument("--batch_size", type=int, default=_BATCH_SIZE)
  parser.add_argument("--no_lookahead", action="store_true")
  parser.add_argument(
    "--precision", choices=("float32", "bfloat16"), default="float32"
  )
  given = parser.parse_args()
  train(
    given.data,
    given.seed,
    given.epochs,
    given.width,
    not given.no_lookahead,
    given.batch_size,
    given.precision,
  )


if __name__ == "__main__":
  main()
