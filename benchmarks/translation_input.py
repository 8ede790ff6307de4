"""How much of the packed rows is padding, and how fast are they made and read?

Takes the data of a translation experiment, trains its vocabulary, and packs its
training text into rows of several lengths; then packs as many made-up pairs as
WMT14 has, with lengths like those of its sentences. Writes translation_input.md
and translation_input.json to --results.

python -m benchmarks.translation_input --config=configs/phrases.py:adam
"""

import itertools
import tempfile
import time

import numpy as np
import tensorflow as tf
import tqdm
from absl import flags

from benchmarks.harness.report import Report, define_config, run
from experiments.results import make_table
from trainers.translation import experiment, sources, vocabulary
from trainers.translation import rows as rows_lib
from trainers.translation.pipelines import RowsPipeline

_CONFIG = define_config("Experiment of the translation trainer.")
_DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "Where the data is, as for the trainer."
)
_LENGTHS = flags.DEFINE_multi_integer(
  "max_lengths",
  [32, 64, 128, 256],
  "Tokens of a row, on each side.",
  lower_bound=1,
)
_BATCH_TOKENS = flags.DEFINE_integer(
  "batch_tokens", 2048, "Target tokens of a batch.", lower_bound=1
)
_BATCHES = flags.DEFINE_integer(
  "batches", 500, "How many batches to read.", lower_bound=1
)
_MADE_UP_PAIRS = flags.DEFINE_integer(
  "made_up_pairs", 4_500_000, "0 for none.", lower_bound=0
)

_MADE_UP_ROW = 256


def _load_text(config, data_dir):
  """Returns the training text of an experiment, and its vocabulary."""
  data = experiment.read_data(config.data)
  split = sources.load(data, data_dir).train
  recipe = vocabulary.Recipe(**config.vocabulary)
  with tempfile.TemporaryDirectory() as directory:
    words = vocabulary.load_or_train(split, recipe, directory)
  return split, words


def _pack_text(split, words, length):
  """Returns rows of so many tokens on each side, and the seconds they took."""
  with tempfile.TemporaryDirectory() as directory:
    started = time.perf_counter()
    rows = rows_lib.training_rows(split, words, length, directory)
    return rows, time.perf_counter() - started


def _read_speed(rows, rows_per_batch, batches):
  """Returns how many target tokens, without padding, are read a second."""
  pipeline = RowsPipeline(
    rows, rows_per_batch, seed=0, context=tf.distribute.InputContext()
  )
  iterator = iter(pipeline.batches(first_step=0))
  next(iterator)  # Traces, and starts the threads.
  text = tf.constant(0, tf.int64)
  started = time.perf_counter()
  for batch in itertools.islice(iterator, batches):
    text += tf.math.count_nonzero(batch["target"])
  return int(text) / (time.perf_counter() - started)


def _pack_lengths(lengths, row_length):
  """Returns rows of made-up sentences, and the CPU seconds they took.

  Args:
    lengths: int32 (pairs, 2), the tokens of both sides of each pair.
    row_length: Tokens of a row, on each side.

  Returns:
    uint16 (rows, 2, row_length), and seconds of the one thread that packs.
  """
  tokens = tuple(np.ones(total, np.uint16) for total in lengths.sum(axis=0))
  started = time.process_time()
  rows = rows_lib.assign_rows(lengths, row_length)
  packed = rows_lib.fill_rows(tokens, lengths, rows, row_length)
  return packed, time.process_time() - started


def _padding(tokens):
  """Returns the shares of the source, the target and both, as text."""
  shares = [np.mean(side == 0) for side in (tokens[:, 0], tokens[:, 1], tokens)]
  return " / ".join(f"{share:.1%}" for share in shares)


def _measure(split, words, length):
  """Returns a record for translation_input.json, of rows of one length."""
  rows, seconds = _pack_text(split, words, length)
  return {
    **rows.describe(),
    "padding_by_side": _padding(rows.tokens),
    "pairs_per_second": split.size / seconds,
    "target_tokens_per_second": _read_speed(
      rows, max(1, _BATCH_TOKENS.value // length), _BATCHES.value
    ),
  }


def _pack_made_up_pairs(pairs):
  """Returns a record for translation_input.json."""
  rng = np.random.default_rng(0)
  source = rng.lognormal(3.05, 0.65, pairs)
  target = source * rng.lognormal(0.03, 0.2, pairs)
  lengths = np.rint(np.stack([source, target], 1))
  lengths = np.clip(lengths, 1, _MADE_UP_ROW).astype(np.int32)
  packed, seconds = _pack_lengths(lengths, _MADE_UP_ROW)
  return {
    "pairs": pairs,
    "rows": len(packed),
    "mean_lengths": lengths.mean(axis=0).tolist(),
    "padding_by_side": _padding(packed),
    "cpu_seconds": seconds,
    "megabytes": packed.nbytes / 1e6,
  }


def _make_text(name, records, made_up):
  """Returns the table, and a sentence about the made-up pairs."""
  head = (
    "`max_length`",
    "pairs",
    "rows",
    "left out",
    "padding: source / target / both",
    "pairs a second, tokenized and packed",
    "target tokens a second, read",
  )
  body = [
    (
      str(r["row_length"]),
      f"{r['pairs']:,}",
      f"{r['rows']:,}",
      f"{r['empty_pairs'] + r['too_long_pairs']:,}",
      r["padding_by_side"],
      f"{r['pairs_per_second']:,.0f}",
      f"{r['target_tokens_per_second']:,.0f}",
    )
    for r in records
  ]
  text = f"{name}:\n\n{make_table([head, *body])}\n"
  if made_up:
    source, target = made_up["mean_lengths"]
    text += (
      f"\n{made_up['pairs']:,} made-up pairs of {source:.1f} and {target:.1f} "
      f"tokens on average: packed in {made_up['cpu_seconds']:.0f} s of one "
      f"core into {made_up['rows']:,} rows of {_MADE_UP_ROW}, "
      f"{made_up['megabytes']:,.0f} MB, of which {made_up['padding_by_side']} "
      "are padding.\n"
    )
  return text


def main() -> None:
  """Measures, writes and prints."""
  report = Report(
    "translation_input",
    "Packed rows of translation data",
    ["tensorflow", "tensorflow-text", "sentencepiece", "numpy"],
  )
  config = _CONFIG.value
  split, words = _load_text(config, _DATA_DIR.value)
  records = [
    _measure(split, words, length) for length in tqdm.tqdm(_LENGTHS.value)
  ]
  made_up = None
  if _MADE_UP_PAIRS.value:
    made_up = _pack_made_up_pairs(_MADE_UP_PAIRS.value)
  name = f"{config.data.name}, {words.size:,} subwords"
  report.write(
    _make_text(name, records, made_up),
    {"data": name, "rows": records, "made_up": made_up},
  )
  report.show()


if __name__ == "__main__":
  flags.mark_flags_as_required(["config"])
  run(main)
