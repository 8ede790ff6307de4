"""What does the training loop cost, over bare steps and over Keras' own fit?

All three train the same model with the same optimizer on the same batches, in
turn in one process, without evaluation and checkpoint. A bare step is one call
of a tf.function. The loop makes all steps of a round in one call, and writes
their figures. Writes training_loop.md, training_loop.json and training_loop.png
to --results.

python -m benchmarks.training_loop --config=configs/digits.py
"""

import tempfile

from absl import flags

from benchmarks import image_trainer
from benchmarks.harness import chart, interleaving, program
from benchmarks.harness.report import Report, make_table

_CONFIG = program.define_config("Experiment of the image trainer.")
_DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "Where the data is, as for the trainer."
)
_STEPS = flags.DEFINE_integer("steps", 100, "Steps in a round.", lower_bound=1)


def main() -> None:
  """Measures, writes and prints."""
  report = Report(
    "training_loop",
    "What the training loop costs",
    ["lookahead-tf", "tensorflow", "keras"],
  )
  rounds = program.ROUNDS.value
  with tempfile.TemporaryDirectory() as workdir:
    ways = image_trainer.training_ways(
      _CONFIG.value, _DATA_DIR.value, _STEPS.value, workdir
    )
    for seconds in ways.values():
      seconds()  # Compiles, and fills the cache.
    measurement = interleaving.measure(
      {"loop": ways}, rounds, "rounds", program.PATIENCE.value
    )
  seconds = measurement.seconds["loop"]
  record = {
    "seconds_per_image": seconds,
    "disturbed_rounds": measurement.disturbed,
  }
  fit, steps, _ = ways
  table = make_table(
    interleaving.compare_speeds(seconds, "images", [fit, steps])
  )
  report.write(
    f"{table}\n{rounds} rounds of {_STEPS.value} steps. "
    f"{interleaving.describe_disturbance([record], rounds)}\n",
    record,
  )
  chart.draw_speeds(
    {"images": seconds}, report.path(".png"), others=[fit, steps]
  )
  report.show()


if __name__ == "__main__":
  flags.mark_flags_as_required(["config"])
  program.run(main)
