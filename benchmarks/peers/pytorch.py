"""Training steps of PyTorch, for server.py to time.

Image classifiers, a Transformer and an AWD-LSTM. The batch stays in memory, and
is random. Each public function returns one runner, "bare": a function of a
number of steps that returns the mean seconds of one.
"""

import math
import time
from collections.abc import Callable

import torch
from torch import nn

Runners = dict[str, Callable[[int], float]]

_CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def _prepare(threads):
  torch.set_num_threads(threads)
  torch.manual_seed(0)


def _autocast(precision):
  """Returns a context for the forward pass: PyTorch's autocast, or none.

  Autocast chooses the dtype of each operation: bfloat16 for products and
  convolutions, float32 for the loss.
  """
  return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")


def _runner(step, clock):
  """Returns a function of a number of steps: the mean seconds of one."""
  now = _CLOCKS[clock]

  def run(steps):
    started = now()
    for _ in range(steps):
      step()
    return (now() - started) / steps

  return run


class _Block(nn.Module):
  """A residual block: the output of `body` plus a shortcut."""

  def __init__(self, body, inputs, outputs, stride):
    super().__init__()
    self.body = body
    self.shortcut = nn.Identity()
    if stride != 1 or inputs != outputs:
      self.shortcut = _normalized(inputs, outputs, 1, stride)
    self.relu = nn.ReLU(inplace=True)

  def forward(self, x):
    return self.relu(self.body(x) + self.shortcut(x))


def _normalized(inputs, outputs, kernel_size, stride=1, relu=False):
  layers = [
    nn.Conv2d(
      inputs, outputs, kernel_size, stride, kernel_size // 2, bias=False
    ),
    nn.BatchNorm2d(outputs),
  ]
  if relu:
    layers.append(nn.ReLU(inplace=True))
  return nn.Sequential(*layers)


def _basic_block(inputs, width, stride):
  body = nn.Sequential(
    _normalized(inputs, width, 3, stride, relu=True),
    _normalized(width, width, 3),
  )
  return _Block(body, inputs, width, stride)


def _bottleneck_block(inputs, width, stride):
  body = nn.Sequential(
    _normalized(inputs, width, 1, relu=True),
    _normalized(width, width, 3, stride, relu=True),
    _normalized(width, 4 * width, 1),
  )
  return _Block(body, inputs, 4 * width, stride)


def _resnet(stem, block, blocks_per_stage, expansion, classes):
  layers, channels = [stem], 64
  for stage, blocks in enumerate(blocks_per_stage):
    for index in range(blocks):
      width = 64 * 2**stage
      stride = 2 if stage > 0 and index == 0 else 1
      layers.append(block(channels, width, stride))
      channels = expansion * width
  pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
  return nn.Sequential(*layers, pool, nn.Linear(channels, classes))


def _resnet18():
  stem = _normalized(3, 64, 3, relu=True)
  return _resnet(stem, _basic_block, (2, 2, 2, 2), 1, 10)


def _resnet50():
  stem = nn.Sequential(
    _normalized(3, 64, 7, 2, relu=True), nn.MaxPool2d(3, 2, 1)
  )
  return _resnet(stem, _bottleneck_block, (3, 4, 6, 3), 4, 1000)


# Models, and the sides of their images.
_CLASSIFIERS = {"resnet18": (_resnet18, 32), "resnet50": (_resnet50, 224)}


def classifier(
  model: str,
  batch_size: int,
  threads: int,
  precision: str,
  clock: str,
  compiles: bool = False,
) -> Runners:
  """Returns a runner of training steps of an image classifier.

  The models are those of the image trainer, layer by layer. As PyTorch's own
  advice for CPUs has it, memory is channels last and SGD is one kernel.

  Args:
    model: "resnet18", in the wide form for CIFAR, or "resnet50".
    batch_size: Images in a step.
    threads: Threads that an operation may use.
    precision: "float32", or "bfloat16" for PyTorch's autocast.
    clock: "wall", or "cpu" for the CPU time of all threads.
    compiles: Whether to use `torch.compile`.
  """
  _prepare(threads)
  make, size = _CLASSIFIERS[model]
  network = make().to(memory_format=torch.channels_last)
  images = torch.rand(batch_size, 3, size, size)
  images = images.to(memory_format=torch.channels_last)
  labels = torch.randint(network[-1].out_features, (batch_size,))
  criterion = nn.CrossEntropyLoss()
  optimizer = torch.optim.SGD(
    network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, fused=True
  )
  forward = torch.compile(network) if compiles else network

  def step():
    optimizer.zero_grad()
    with _autocast(precision):
      loss = criterion(forward(images), labels)
    loss.backward()
    optimizer.step()

  return {"bare": _runner(step, clock)}


class _Translator(nn.Module):
  """`nn.Transformer` with what it lacks: embeddings, positions, a softmax.

  One matrix is the embedding of both languages and the softmax, as in the
  translation trainer.
  """

  def __init__(
    self, vocabulary_size, length, width, heads, layers, inner_width, dropout
  ):
    super().__init__()
    self.embedding = nn.Embedding(vocabulary_size, width, padding_idx=0)
    nn.init.normal_(self.embedding.weight, std=width**-0.5)
    self.transformer = nn.Transformer(
      width,
      heads,
      layers,
      layers,
      inner_width,
      dropout,
      batch_first=True,
      norm_first=True,
    )
    self.dropout = nn.Dropout(dropout)
    rates = torch.exp(torch.linspace(0, -math.log(1e4), width // 2))
    angles = torch.arange(length)[:, None] * rates
    self.register_buffer("signal", torch.cat([angles.sin(), angles.cos()], 1))
    mask = nn.Transformer.generate_square_subsequent_mask(length)
    self.register_buffer("mask", mask)

  def _embed(self, tokens):
    scale = self.embedding.embedding_dim**0.5
    return self.dropout(self.embedding(tokens) * scale + self.signal)

  def forward(self, source, inputs):
    output = self.transformer(
      self._embed(source),
      self._embed(inputs),
      tgt_mask=self.mask,
      tgt_is_causal=True,
    )
    return output @ self.embedding.weight.T


def transformer(
  sizes: dict[str, int | float],
  batch_size: int,
  label_smoothing: float,
  threads: int,
  precision: str,
  clock: str,
) -> Runners:
  """Returns a runner of training steps of PyTorch's own Transformer.

  Every token is text, none is padding: no mask is needed but the decoder's.

  Args:
    sizes: `vocabulary_size`; `length`, the tokens of a sentence; `width` of the
      layers and `inner_width` of the feed-forward layers; `heads` of attention;
      `layers` of the encoder, and of the decoder; and the rate `dropout`.
    batch_size: Sentences in a step.
    label_smoothing: Label smoothing of the loss.
    threads: Threads that an operation may use.
    precision: "float32", or "bfloat16" for PyTorch's autocast.
    clock: "wall", or "cpu" for the CPU time of all threads.
  """
  _prepare(threads)
  model = _Translator(**sizes)
  shape = (batch_size, sizes["length"])
  source, target = torch.randint(3, sizes["vocabulary_size"], (2, *shape))
  inputs = nn.functional.pad(target[:, :-1], (1, 0))
  criterion = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
  optimizer = torch.optim.Adam(
    model.parameters(), lr=0.001, betas=(0.9, 0.997), fused=True
  )

  def step():
    optimizer.zero_grad()
    with _autocast(precision):
      logits = model(source, inputs)
      loss = criterion(logits.flatten(0, 1), target.flatten())
    loss.backward()
    optimizer.step()

  return {"bare": _runner(step, clock)}


class _AwdLstm(nn.Module):
  """The AWD-LSTM by `nn.LSTM`, one a layer, whose recurrent weights drop."""

  def __init__(self, vocabulary_size, embedding_size, widths, rates):
    super().__init__()
    self.rates = rates
    self.embedding = nn.Embedding(vocabulary_size, embedding_size)
    nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
    self.bias = nn.Parameter(torch.zeros(vocabulary_size))
    inputs = [embedding_size, *widths[:-1]]
    self.layers = nn.ModuleList(map(nn.LSTM, inputs, widths))
    # A layer computes with a masked copy of these.
    self.recurrent = nn.ParameterList(
      layer.weight_hh_l0.detach().clone() for layer in self.layers
    )
    for layer in self.layers:
      del layer._parameters["weight_hh_l0"]

  def _locked(self, x, rate):
    """Returns `x`, (steps, rows, width), with one mask for all steps."""
    return x * nn.functional.dropout(x.new_ones(1, *x.shape[1:]), rate)

  def forward(self, tokens, state):
    rates, table = self.rates, self.embedding.weight
    kept = nn.functional.dropout(table.new_ones(len(table), 1), rates["words"])
    x = nn.functional.embedding(tokens, table) * kept[tokens]
    x, after = self._locked(x, rates["inputs"]), []
    for i, (layer, weight) in enumerate(zip(self.layers, self.recurrent)):
      layer.weight_hh_l0 = nn.functional.dropout(weight, rates["weights"])
      outputs, behind = layer(x, state[i])
      after.append(tuple(value.detach() for value in behind))
      last = i == len(self.layers) - 1
      x = self._locked(outputs, rates["outputs" if last else "hidden"])
    logits = nn.functional.linear(x.flatten(0, 1), table, self.bias)
    return logits, outputs, x, after


def awd_lstm(
  sizes: dict[str, int | list[int]],
  rates: dict[str, float],
  penalties: dict[str, float],
  shape: tuple[int, int],
  threads: int,
  precision: str,
  clock: str,
) -> Runners:
  """Returns a runner of training steps of an AWD-LSTM around `nn.LSTM`.

  A step is that of the reference implementation: all dropouts and penalties,
  the gradients clipped, SGD, and the state carried to the next step.

  Args:
    sizes: `vocabulary_size`, `embedding_size`, and `widths` of the layers.
    rates: What is dropped: `words`, `inputs`, `hidden`, `outputs`, `weights`.
    penalties: `activation` and `temporal`.
    shape: Steps and rows of a segment.
    threads: Threads that an operation may use.
    precision: "float32", or "bfloat16" for PyTorch's autocast.
    clock: "wall", or "cpu" for the CPU time of all threads.
  """
  _prepare(threads)
  model = _AwdLstm(**sizes, rates=rates)
  steps, rows = shape
  text = torch.randint(sizes["vocabulary_size"], (steps + 1, rows))
  state = [
    (torch.zeros(1, rows, width), torch.zeros(1, rows, width))
    for width in sizes["widths"]
  ]
  criterion = nn.CrossEntropyLoss()
  optimizer = torch.optim.SGD(
    model.parameters(), lr=0.01, weight_decay=1.2e-6, fused=True
  )

  def step():
    nonlocal state
    optimizer.zero_grad()
    with _autocast(precision):
      logits, outputs, dropped, state = model(text[:-1], state)
      loss = criterion(logits, text[1:].flatten())
      loss += penalties["activation"] * dropped.square().mean()
      loss += penalties["temporal"] * outputs.diff(dim=0).square().mean()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.25)
    optimizer.step()

  return {"bare": _runner(step, clock)}
