"""How fast do two workers train where the network between them is slow?

Two processes of the image trainer, each with one core and a network namespace
of its own, train the wide ResNet-18 of CIFAR on made-up images. The link
between them is limited to one rate after another. They train synchronously,
with a sum of gradients in each step, and with Lookahead's local steps, which
meet once a period. Beside that: the same workers without any network. With
--slower_worker the second worker shares its core with a loop that does nothing.
Writes slow_network.md, slow_network.json and slow_network.png to --results.

Needs Linux, root, iproute2 and two cores. The namespaces are removed at the
end, and nothing outside them is touched.

python -m benchmarks.slow_network --rates=unlimited,100mbit --sync_periods=30
"""

import functools
import os
import pathlib
import signal
import statistics
import sys
import tempfile

import tqdm
from absl import flags

from benchmarks import network, training_processes
from benchmarks import slow_network_cases as cases
from benchmarks.harness import chart, interleaving
from benchmarks.harness.report import PATIENCE, ROUNDS, Report, run
from experiments.results import make_table
from trainers.errors import UserError

_RATES = flags.DEFINE_list(
  "rates",
  ["unlimited", "1gbit", "100mbit", "20mbit"],
  "Rates of the link, as `tc` takes them, or unlimited.",
)
_PERIODS = flags.DEFINE_list(
  "sync_periods",
  ["5", "30", "100"],
  "Lookahead's k of the local steps, multiples of --steps_per_loop; empty for "
  "no local steps.",
)
_BATCH = flags.DEFINE_integer(
  "batch_size", 16, "Images of a worker in a step.", lower_bound=1
)
_WIDTH = flags.DEFINE_integer(
  "width", 64, "Channels of the ResNet's first stage.", lower_bound=1
)
_LOOP = flags.DEFINE_integer(
  "steps_per_loop",
  5,
  "Steps in a loop of the trainer, after which it writes its metrics.",
  lower_bound=1,
)
_SECONDS = flags.DEFINE_float(
  "seconds",
  20.0,
  "Seconds that are measured at least: whole periods, and loops of synchronous "
  "training, two or more.",
  lower_bound=0,
)
_SLOWER = flags.DEFINE_bool(
  "slower_worker", False, "Keeps the second worker's core busy beside it."
)
# Each takes minutes.
flags.set_default(ROUNDS, 1)
flags.register_validator(
  "rates",
  lambda rates: rates and all(map(network.is_rate, rates)),
  "must be rates such as unlimited,1gbit,100mbit",
)
flags.register_validator(
  "sync_periods",
  lambda periods: all(k.isdecimal() and int(k) for k in periods),
  "must be numbers from 1 on, such as 5,30,100",
)

_LEAST_UNITS = 2


def _check(cores):
  """Raises a UserError if nothing can be measured here, or as flags say."""
  for period in _PERIODS.value:
    if int(period) % _LOOP.value:
      raise UserError(
        "Each of --sync_periods must be a multiple of --steps_per_loop="
        f"{_LOOP.value}. Received: {period}"
      )
  if len(cores) < cases.WORKERS:
    raise UserError(
      f"{cases.WORKERS} workers need a core each, and this process may use "
      f"{len(cores)}."
    )
  network.check_possible()


def _make_processes(way, images, folder, link, cores):
  """Returns the processes of a way, and the directories of its runs."""
  workdirs = [os.path.join(folder, f"run{i}") for i in range(way.runs)]
  processes = []
  for i in range(way.workers):
    trainer = [sys.executable, "-m", "trainers.image_classification"]
    trainer += cases.trainer_arguments(
      way,
      images,
      workdirs[i % way.runs],
      _BATCH.value,
      _WIDTH.value,
      _LOOP.value,
    )
    environment = {}
    if way.is_connected:
      trainer = link.command(i) + trainer
      environment["TF_CONFIG"] = cases.tf_config(link.addresses, i)
    processes.append(training_processes.Process(trainer, cores[i], environment))
  if _SLOWER.value and way.workers > 1:
    loop = [sys.executable, "-c", "while True: pass"]
    processes.append(training_processes.Process(loop, cores[way.workers - 1]))
  return processes, workdirs


def _measure_way(way, images, folder, link, cores, records):
  """Measures a way at all rates, and adds to `records` what was measured."""
  of_way = {
    rate: {"way": way.name, "rate": rate, "windows": [], "disturbed_rounds": {}}
    for rate in (_RATES.value if way.is_connected else [None])
  }
  link.limit(network.UNLIMITED)
  processes, workdirs = _make_processes(way, images, folder, link, cores)
  try:
    with training_processes.running(processes, workdirs, folder) as runs:
      # A meeting too, so that whatever the first one waits for is there.
      runs.wait_for_step(way.sync_period or _LOOP.value)
      measurement = interleaving.measure(
        {
          rate: {way.name: functools.partial(_measure, way, record, runs, link)}
          for rate, record in of_way.items()
        },
        ROUNDS.value,
        way.name,
        PATIENCE.value,
      )
    for rate, record in of_way.items():
      counted = measurement.seconds[rate][way.name]
      record["windows"] = [  # Not those that were measured again.
        w for w in record["windows"] if w["seconds_per_image"] in counted
      ]
      record["disturbed_rounds"] = {way.name: measurement.disturbed[rate]}
  finally:
    records += [record for record in of_way.values() if record["windows"]]


def _measure(way, record, runs, link):
  """Adds a window to the record; returns the seconds of an image."""
  if way.is_connected:
    link.limit(record["rate"])
  runs.wait_for_line()  # Of the loop in which the rate has changed.
  before = link.bytes_sent()
  with tqdm.tqdm(unit=" steps", position=1, leave=False) as bar:
    window = runs.measure(
      way.sync_period or _LOOP.value,
      _LEAST_UNITS,
      _SECONDS.value,
      lambda steps: bar.update(steps - bar.n),
    )
  sent = [now - then for then, now in zip(before, link.bytes_sent())]
  images = window.steps * _BATCH.value * way.workers // way.runs
  seconds_per_image = 1 / sum(images / seconds for seconds in window.seconds)
  record["windows"].append(
    {
      "steps": window.steps,
      "seconds_per_image": seconds_per_image,
      "bytes_per_step": statistics.mean(sent) / window.steps,
    }
  )
  return seconds_per_image


def _write(report, records):
  """Writes the report and the chart of what was measured so far."""
  table = make_table(cases.make_rows(records))
  disturbance = interleaving.describe_disturbance(records, ROUNDS.value)
  report.write(
    f"{table}\n\nThe ResNet-18 of {_WIDTH.value} channels; each worker has one "
    f"core and batches of {_BATCH.value} images. {_slower()}"
    "Images are those of all workers. MB are what a worker sends, as its "
    "network device counts.\n\n"
    f"{disturbance}\n",
    {"records": records},
  )
  seconds = {}
  for record in records:
    values = [window["seconds_per_image"] for window in record["windows"]]
    seconds.setdefault(record["rate"], {})[record["way"]] = values
  apart = seconds.pop(None, {})
  panels = {
    f"images, {network.describe_rate(rate)}": of_rate | apart
    for rate, of_rate in seconds.items()
  }
  chart.draw_speeds(
    panels or {"images": apart},
    report.path(".png"),
    others=[cases.ALONE, cases.APART],
  )


def _slower():
  """Returns the sentence of the report that says which worker is slower."""
  if not _SLOWER.value:
    return ""
  return "The second worker shares its core with a loop that does nothing. "


def main() -> None:
  """Measures, writes and prints."""
  cores = sorted(os.sched_getaffinity(0))
  _check(cores)
  report = Report(
    "slow_network",
    "Two workers and a slow network",
    ["lookahead-tf", "tensorflow", "keras"],
  )
  # As at a Ctrl-C, what was made is removed then.
  for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, frame: sys.exit(128 + number))
  records = []
  with tempfile.TemporaryDirectory() as folder, network.Link() as link:
    images = os.path.join(folder, "images")
    cases.write_images(images)
    for i, way in enumerate(cases.make_ways([int(k) for k in _PERIODS.value])):
      (place := pathlib.Path(folder, str(i))).mkdir()
      try:
        _measure_way(way, images, str(place), link, cores, records)
      finally:
        if records:
          _write(report, records)
  report.show()


if __name__ == "__main__":
  run(main)
