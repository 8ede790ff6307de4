"""What does Lookahead add to a whole training step, and how fast is PyTorch's?

Times steps (forward, backward, optimizer) of several models: with Lookahead and
with the inner optimizer alone, as a graph and by XLA, and with --peers
PyTorch's step of the same model, in a process of its own with as many threads.
All variants of a model take turns. The inner optimizer alone takes part twice:
how far that ratio is from 1 is what the machine's noise does. One measurement
is a period of steps, with its synchronization. A batch stays in memory and is
always the same. Writes training_step.md, training_step.json,
training_step_ratios.png and training_step_speeds.png to --results.

- resnet18, resnet50: the image trainer's step of the wide ResNet-18 for CIFAR
  and of ResNet-50 (SGD with momentum and weight decay).
- speedrun: the image trainer's step of the CIFAR-10 speed run (Nesterov SGD).
- transformer: the translation trainer's step (Adam with dropout).
- awd_lstm: the language modeling trainer's step, with all its dropouts and
  penalties (SGD with clipped gradients).
- narrow_resnet, small_transformer: the same steps of models so small that what
  Lookahead adds can be told from noise. PyTorch has no narrow_resnet.

With --precisions=float32 --precisions=bfloat16 each variant takes part in both,
and so does PyTorch, by its autocast. --clock=cpu counts the CPU time of all
threads: that is for a machine that others use too, and for one core, since
threads that wait for one another may count as busy.

Images of narrow_resnet are not of 32x32 pixels and 16 channels: tensors of a
power of two share sets of the cache with one another, or do not, by where XLA
happens to put them, and that moves the time of a step by more than what is to
be measured here.

python -m benchmarks.training_step --models=narrow_resnet \
    --models=small_transformer
python -m benchmarks.training_step --models=resnet18 --models=resnet50 \
    --models=transformer --models=awd_lstm --peers \
    --name=training_step_beside_pytorch
python -m benchmarks.training_step --models=resnet18 --models=resnet50 \
    --models=transformer --models=awd_lstm --variants=inner --peers \
    --precisions=float32 --precisions=bfloat16 --name=training_step_bfloat16
"""

import functools
import gc
import itertools
import statistics
import time

import keras
import tqdm
from absl import flags

from benchmarks import training_step_cases
from benchmarks.harness import chart, interleaving
from benchmarks.harness.report import PATIENCE, ROUNDS, Report, run
from benchmarks.peers import client
from benchmarks.training_step_cases import MODELS
from experiments.results import make_table
from trainers import devices, hardware

_PYTORCH = "PyTorch"
# Of ours. In this order both others are neighbours of the inner optimizer.
_VARIANTS = {
  "lookahead": "Lookahead",
  "inner": "inner optimizer",
  "again": "inner optimizer again (noise)",
}
_GOAL = 1.01
_GOALS_BESIDE_PYTORCH = "1.1 for images, 1.2 for tokens, 1.25 for words"

_GOALS_OF_BFLOAT16 = (
  "1.6 for the wide ResNet-18, 1.5 for ResNet-50, 1.3 for the Transformer"
)

_MODELS = flags.DEFINE_multi_enum(
  "models", list(MODELS), list(MODELS), "Models to train."
)
_EXECUTIONS = flags.DEFINE_multi_enum(
  "executions", ["graph", "xla"], ["graph", "xla"], "How ours is executed."
)
_OURS = flags.DEFINE_multi_enum(
  "variants", list(_VARIANTS), list(_VARIANTS), "Variants of ours."
)
_PRECISIONS = flags.DEFINE_multi_enum(
  "precisions",
  ["float32"],
  ["float32", "bfloat16"],
  "What to compute in, for ours and for PyTorch.",
)
_CLOCK = flags.DEFINE_enum(
  "clock",
  "wall",
  ["wall", "cpu"],
  "What is timed: the time that passes, or the CPU time of all threads.",
)
_SYNC_PERIOD = flags.DEFINE_integer(
  "sync_period", 5, "Steps in a period, and in a round.", lower_bound=1
)
_BATCH_SIZES = flags.DEFINE_multi_integer(
  "batch_sizes",
  None,
  "Examples in a batch, for all models; each has its own otherwise.",
  lower_bound=1,
)
_SUBJECT = training_step_cases.define_flags()


def _in(label, precision):
  """Returns the label of a step in that precision."""
  return label if precision == "float32" else f"{label}, {precision}"


def _label(execution, variant, precision):
  return _in(f"{execution}, {_VARIANTS[variant]}", precision)


def _make_unit(subject, batch_size, execution, variant, precision):
  """Returns a function that trains for a period; returns a step's seconds."""
  keras.utils.set_random_seed(0)
  steps = _SYNC_PERIOD.value
  now = time.process_time if _CLOCK.value == "cpu" else time.perf_counter
  before = devices.precision()

  def unit():
    started = now()
    for _ in range(steps):
      loss = step()
    loss.numpy()  # Waits for the last step.
    return (now() - started) / steps

  devices.set_precision(precision)
  try:
    step = subject.make_step(
      batch_size,
      execution == "xla",
      _SYNC_PERIOD.value if variant == "lookahead" else None,
    )
    for _ in range(2):
      unit()  # Traces and compiles, and touches all memory.
  finally:
    devices.set_precision(before)
  return unit


def _measure(name, batch_size, peers_python, report):
  """Returns a record for training_step.json."""
  subject = _SUBJECT(name)
  title = f"{subject.title}, batch {batch_size}"
  units = {}
  with client.Peers(peers_python) as peers:
    if subject.peer:
      peer_name, arguments = subject.peer(batch_size)
      for precision in _PRECISIONS.value:
        label = _in(_PYTORCH, precision)
        peer = peers.start(
          label,
          peer_name,
          warmup_steps=_SYNC_PERIOD.value,
          threads=hardware.count_cores(),
          precision=precision,
          clock=_CLOCK.value,
          **arguments,
        )
        if peer:
          units[label] = functools.partial(peer.run, "bare", _SYNC_PERIOD.value)
    variants = [
      (execution, variant, precision)
      for precision in _PRECISIONS.value
      for execution in _EXECUTIONS.value
      for variant in _VARIANTS
      if variant in _OURS.value
    ]
    for execution, variant, precision in tqdm.tqdm(
      variants, f"{title}: compile", leave=False
    ):
      units[_label(execution, variant, precision)] = _make_unit(
        subject, batch_size, execution, variant, precision
      )
    measurement = interleaving.measure(
      {title: units}, ROUNDS.value, title, PATIENCE.value
    )
  report.versions |= peers.versions
  return {
    "model": name,
    "title": title,
    "inner": subject.inner,
    "batch_size": batch_size,
    "unit": subject.unit,
    "per_step": batch_size * subject.units_per_example,
    "seconds_per_step": measurement.seconds[title],
    "disturbed_rounds": measurement.disturbed,
    "not_measured": peers.not_measured,
  }


def _pairs(record):
  """Yields (label, times, times of the inner optimizer) of one execution."""
  seconds = record["seconds_per_step"]
  for precision, execution in itertools.product(
    _PRECISIONS.value, _EXECUTIONS.value
  ):
    inner = seconds.get(_label(execution, "inner", precision))
    for variant in ("lookahead", "again"):
      label = _label(execution, variant, precision)
      if inner and label in seconds:
        yield label, seconds[label], inner


def _ratio_table(records):
  """Returns what Lookahead adds, as Markdown."""
  rows = [
    (
      "model",
      "inner",
      "step",
      "ms",
      "ms more",
      *interleaving.RATIO_COLUMNS,
    )
  ]
  for record in records:
    for label, times, inner in _pairs(record):
      added = statistics.median(
        a - b for a, b in zip(times, inner, strict=True)
      )
      rows.append(
        (
          record["title"],
          record["inner"],
          label,
          f"{1000 * statistics.median(times):.1f}",
          f"{1000 * added:.2f}",
          *interleaving.compare(times, inner).cells(),
        )
      )
  return (
    "What Lookahead adds to a step with the inner optimizer, and what the same "
    f"step differs from itself; goal: a ratio of {_GOAL} at most.\n\n"
    f"{make_table(rows)}\n\n"
  )


def _speed_table(records):
  """Returns all speeds, as Markdown."""
  rows = [("model", "step", "speed", *interleaving.RATIO_COLUMNS)]
  for record in records:
    seconds = record["seconds_per_step"]
    for label, times in seconds.items():
      speed = record["per_step"] / statistics.median(times)
      ratio = ("", "", "")
      peer = _peer_of(label)
      if peer in seconds and label != peer:
        ratio = interleaving.compare(seconds[peer], times).cells()
      rows.append(
        (record["title"], label, f"{speed:,.1f} {record['unit']}/s", *ratio)
      )
  return (
    f"Speeds on {hardware.count_cores()} cores together, and their ratio to "
    f"{_PYTORCH}'s in the same precision; goals: {_GOALS_BESIDE_PYTORCH} at "
    f"least.\n\n{make_table(rows)}\n"
  )


def _peer_of(label):
  """Returns the label of PyTorch's step in the same precision."""
  is_bfloat16 = label.endswith(_in("", "bfloat16"))
  return _in(_PYTORCH, "bfloat16" if is_bfloat16 else "float32")


def _precision_table(records):
  """Returns how bfloat16 compares with float32, as Markdown.

  The reference of ours is the faster one of the executions in float32.
  """
  rows = [
    ("model", "step", "beside", "ms", "ms beside", *interleaving.RATIO_COLUMNS)
  ]
  for record in records:
    seconds = record["seconds_per_step"]
    median = {label: statistics.median(t) for label, t in seconds.items()}
    pairs = [(_in(_PYTORCH, "bfloat16"), [_PYTORCH])] + [
      (
        _label(execution, variant, "bfloat16"),
        [_label(other, variant, "float32") for other in _EXECUTIONS.value],
      )
      for execution in _EXECUTIONS.value
      for variant in _OURS.value
    ]
    for label, others in pairs:
      others = [other for other in others if other in seconds]
      if label in seconds and others:
        other = min(others, key=median.get)
        rows.append(
          (
            record["title"],
            label,
            other,
            f"{1000 * median[label]:.1f}",
            f"{1000 * median[other]:.1f}",
            *interleaving.compare(seconds[other], seconds[label]).cells(),
          )
        )
  return (
    "How many times as fast a step is in bfloat16 as in float32; goals: "
    f"{_GOALS_OF_BFLOAT16} at least.\n\n{make_table(rows)}\n\n"
  )


def _draw(records, report):
  panels = {}
  for record in records:
    ratios = {
      label: interleaving.compare(times, inner)
      for label, times, inner in _pairs(record)
    }
    if ratios:
      panels.setdefault(record["title"].rpartition(",")[0], []).append(
        chart.Group(
          f"batch {record['batch_size']}", ratios, {f"goal, {_GOAL}": _GOAL}
        )
      )
  if panels:
    chart.draw_ratios(
      panels,
      report.path("_ratios.png"),
      "time of a training step / without Lookahead",
      least_top=1.03,
    )
  chart.draw_speeds(
    {
      f"{record['title']}: {record['unit']}": {
        label: [value / record["per_step"] for value in times]
        for label, times in record["seconds_per_step"].items()
      }
      for record in records
    },
    report.path("_speeds.png"),
    others=[_in(_PYTORCH, precision) for precision in _PRECISIONS.value],
  )


def _write(report, records):
  """Writes all files."""
  rounds = ROUNDS.value
  text = _speed_table(records)
  if any(True for record in records for _ in _pairs(record)):
    text = _ratio_table(records) + text
  if len(set(_PRECISIONS.value)) > 1:
    text = _precision_table(records) + text
  clock = "CPU time" if _CLOCK.value == "cpu" else "Time that passes"
  text += (
    f"\n{clock}, k = {_SYNC_PERIOD.value}, {rounds} rounds of a period each. "
    f"{interleaving.describe_disturbance(records, rounds)}\n"
    + client.describe_not_measured(records)
  )
  report.write(text, {"time": records})
  _draw(records, report)


def main() -> None:
  """Measures, writes and prints."""
  report = Report(
    "training_step",
    "A training step with Lookahead and without",
    ["lookahead-tf", "tensorflow", "keras"],
  )
  peers_python = client.find_interpreter()
  records = []
  for name in _MODELS.value:
    for batch_size in _BATCH_SIZES.value or _SUBJECT(name).batch_sizes:
      records.append(_measure(name, batch_size, peers_python, report))
      gc.collect()  # Models and compiled functions refer to each other.
      # After each case, so that none is lost by what becomes of the next.
      _write(report, records)
  report.show()


if __name__ == "__main__":
  run(main)
