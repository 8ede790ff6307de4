"""How much of the packed rows is padding, and how fast are they made and read?

Takes the data of a translation experiment, trains its vocabulary, and packs its
training text into rows of several lengths; then packs as many made-up pairs as
WMT14 has, with lengths like those of its sentences. Prints the tables, and
writes table.md and results.json.

python -m benchmarks.translation_input --workdir=runs/translation_input \
    --config=configs/phrases.py
"""

import itertools
import tempfile
import time

import numpy as np
import tensorflow as tf
import tqdm
from absl import app, flags
from ml_collections import config_flags

from benchmarks import results
from trainers.translation import (
  input_pipeline,
  packing,
  prepared,
  sources,
  vocabulary,
)

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Where to write the results.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As for the trainer.")
_LENGTHS = flags.DEFINE_list(
  "max_lengths", ["32", "64", "128", "256"], "Tokens of a row, on each side."
)
_BATCH_TOKENS = flags.DEFINE_integer(
  "batch_tokens", 2048, "Target tokens of a batch.", lower_bound=1
)
_BATCHES = flags.DEFINE_integer(
  "batches", 500, "How many to read.", lower_bound=1
)
_MADE_UP_PAIRS = flags.DEFINE_integer(
  "made_up_pairs", 4_500_000, "0 for none.", lower_bound=0
)


def _padding(tokens):
  """Returns the shares of the source, the target and both, as text."""
  shares = [np.mean(side == 0) for side in (tokens[:, 0], tokens[:, 1], tokens)]
  return " / ".join(f"{share:.1%}" for share in shares)


def _measure(split, words, length):
  """Returns a record for results.json, of rows of one length."""
  with tempfile.TemporaryDirectory() as directory:
    started = time.perf_counter()
    rows = prepared.training_rows(split, words, length, directory)
    packed = time.perf_counter()
  batches = input_pipeline.train_batches(
    rows,
    seed=0,
    global_batch_size=max(1, _BATCH_TOKENS.value // length),
    first_step=0,
    context=tf.distribute.InputContext(),
  )
  iterator = iter(batches)
  next(iterator)  # Traces, and starts the threads.
  text = tf.constant(0)
  began = time.perf_counter()
  for batch in itertools.islice(iterator, _BATCHES.value):
    text += tf.math.count_nonzero(batch["target"], dtype=tf.int32)
  seconds = time.perf_counter() - began
  return {
    **rows.describe(),
    "padding_by_side": _padding(rows.tokens),
    "pairs_per_second": split.size / (packed - started),
    "target_tokens_per_second": int(text) / seconds,
  }


def _pack_made_up_pairs(pairs, length):
  """Returns a record for results.json."""
  rng = np.random.default_rng(0)
  source = rng.lognormal(3.05, 0.65, pairs)
  target = source * rng.lognormal(0.03, 0.2, pairs)
  lengths = np.clip(np.rint(np.stack([source, target], 1)), 1, length)
  lengths = lengths.astype(np.int32)
  tokens = tuple(np.ones(total, np.uint16) for total in lengths.sum(axis=0))
  started = time.process_time()  # One thread: others do not disturb it.
  rows = packing.assign_rows(lengths, length)
  packed = packing.fill_rows(tokens, lengths, rows, length)
  return {
    "pairs": pairs,
    "rows": len(packed),
    "mean_lengths": lengths.mean(axis=0).tolist(),
    "padding_by_side": _padding(packed),
    "cpu_seconds": time.process_time() - started,
    "megabytes": packed.nbytes / 1e6,
  }


def _make_text(name, records, made_up):
  """Returns the tables."""
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
  text = f"{name}:\n\n{results.make_table([head, *body])}"
  if made_up:
    source, target = made_up["mean_lengths"]
    text += (
      f"\n{made_up['pairs']:,} made-up pairs of {source:.1f} and {target:.1f} "
      f"tokens on average: packed in {made_up['cpu_seconds']:.0f} s of one "
      f"core into {made_up['rows']:,} rows of 256, "
      f"{made_up['megabytes']:,.0f} MB, of which {made_up['padding_by_side']} "
      "are padding.\n"
    )
  return text


def main(arguments: list[str]) -> None:
  """Measures, prints and writes."""
  if len(arguments) > 1:
    raise app.UsageError(f"Unknown arguments: {arguments[1:]}")
  config = _CONFIG.value
  split = sources.load(config.data, _DATA_DIR.value).train
  with tempfile.TemporaryDirectory() as directory:
    words = vocabulary.load_or_train(split, config.vocabulary, directory)
  lengths = tqdm.tqdm([int(length) for length in _LENGTHS.value])
  records = [_measure(split, words, length) for length in lengths]
  made_up = None
  if _MADE_UP_PAIRS.value:
    made_up = _pack_made_up_pairs(_MADE_UP_PAIRS.value, 256)
  name = f"{config.data.name}, {words.size:,} subwords"
  text = results.write(
    _WORKDIR.value,
    results.describe_run(
      "benchmarks.translation_input",
      ["tensorflow", "tensorflow-text", "sentencepiece", "numpy"],
    ),
    _make_text(name, records, made_up),
    {"data": name, "rows": records, "made_up": made_up},
  )
  print(f"\n{text}\nWritten to {_WORKDIR.value}")


if __name__ == "__main__":
  flags.mark_flags_as_required(["config", "workdir"])
  app.run(main)
