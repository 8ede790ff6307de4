"""How fast is the translation trainer's beam search beside Hugging Face's?

Times searches of the trainer's Transformer, as a graph and by XLA, in turn with
--peers' `generate` of Hugging Face's MarianMTModel of the same size, with its
cache of keys and values, in a process of its own with as many threads. Weights
are random, and no translation may end before its greatest length: all make the
same number of steps. Writes decoding.md, decoding.json and decoding.png to
--results.

python -m benchmarks.decoding --peers
"""

import dataclasses
import time

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks import transformer
from benchmarks.harness import chart, interleaving
from benchmarks.harness.report import PATIENCE, ROUNDS, Report, run
from benchmarks.peers import client
from experiments.results import make_table
from trainers import hardware
from trainers.translation import beam_search, experiment
from trainers.translation.model import make_model

_SIZE = transformer.define_size_flags()
_SENTENCES = flags.DEFINE_integer(
  "sentences", 32, "Sentences that are searched together.", lower_bound=1
)
_EXTRA = flags.DEFINE_integer(
  "extra_length",
  8,
  "Tokens that a translation has more than its source.",
  lower_bound=0,
)
_BEAM = flags.DEFINE_integer(
  "beam_size", 4, "Hypotheses of a sentence.", lower_bound=1
)
_SEARCHES = flags.DEFINE_integer(
  "searches", 5, "Searches in a round.", lower_bound=1
)

_HUGGING_FACE = "Hugging Face"
_GOAL = 1.0


def _make_search(size, uses_xla):
  """Returns a function that translates random sentences by beam search.

  Weights are random. The end of a sentence is never likely, so that every
  translation has --extra_length tokens more than its source.
  """
  config = transformer.make_config(size)
  strategy = tf.distribute.OneDeviceStrategy("CPU:0")
  unpacked = experiment.unpack(config, None, strategy)
  model = make_model(unpacked.architecture, size.subwords)
  beam = dataclasses.replace(unpacked.decoding, beam_size=_BEAM.value).beam
  # The end of a sentence gets a logit of 0: others are always likelier.
  embedding = model.get_layer("embedding").weights[0]
  embedding.assign(
    tf.tensor_scatter_nd_update(
      embedding, [[beam.eos_id]], tf.zeros((1, size.width))
    )
  )
  decode = beam_search.make_decoder(model, beam, _EXTRA.value, uses_xla)
  shape = (_SENTENCES.value, size.length)
  random = np.random.default_rng(0)
  source = tf.constant(random.integers(3, size.subwords, shape, "int32"))

  def search():
    tokens = decode(source).numpy()
    if (tokens[:, -1] != beam.eos_id).any():
      raise AssertionError("A translation ended before its greatest length.")

  return search


def _search_peer(size):
  """Returns arguments that make Hugging Face's "generation" do the same."""
  config = transformer.make_config(size)
  return {
    "sizes": {
      "vocab_size": size.subwords,
      "d_model": size.width,
      "ffn_dim": config.model.d_ff,
      "attention_heads": size.heads,
      "layers": size.layers,
    },
    "source_shape": (_SENTENCES.value, size.length),
    "new_tokens": size.length + _EXTRA.value,
    "beam_size": _BEAM.value,
    "length_penalty": config.decoding.length_penalty,
  }


def _seconds_per_sentence(uses_xla):
  """Returns a function that searches and returns the seconds of a sentence."""
  keras.utils.set_random_seed(0)
  search = _make_search(_SIZE(), uses_xla)
  search()  # Compiles.

  def seconds():
    started = time.perf_counter()
    for _ in range(_SEARCHES.value):
      search()
    elapsed = time.perf_counter() - started
    return elapsed / (_SEARCHES.value * _SENTENCES.value)

  return seconds


def _measure(report):
  """Returns a record for decoding.json."""
  size = _SIZE()
  with client.Peers(client.find_interpreter()) as peers:
    peer = peers.start(
      _HUGGING_FACE,
      "generation",
      warmup_steps=1,
      threads=hardware.count_cores(),
      **_search_peer(size),
    )
    units = {
      "ours, graph": _seconds_per_sentence(False),
      "ours, XLA": _seconds_per_sentence(True),
    }
    if peer:
      units[_HUGGING_FACE] = lambda: (
        peer.run("bare", _SEARCHES.value) / _SENTENCES.value
      )
    measurement = interleaving.measure(
      {"decoding": units},
      ROUNDS.value,
      "rounds",
      PATIENCE.value,
    )
  report.versions |= peers.versions
  return {
    "model": size.title(),
    "sentences": _SENTENCES.value,
    "length": size.length,
    "beam_size": _BEAM.value,
    "seconds_per_sentence": measurement.seconds["decoding"],
    "disturbed_rounds": measurement.disturbed,
    "not_measured": peers.not_measured,
  }


def main() -> None:
  """Measures, writes and prints."""
  report = Report(
    "decoding",
    "Beam search beside Hugging Face's",
    ["lookahead-tf", "tensorflow", "keras"],
  )
  record = _measure(report)
  seconds = record["seconds_per_sentence"]
  table = make_table(
    interleaving.compare_speeds(seconds, "sentences", [_HUGGING_FACE])
  )
  size = _SIZE()
  report.write(
    f"{size.title()}, {size.subwords:,} subwords: beams of {_BEAM.value} for "
    f"{_SENTENCES.value} sentences of {size.length} tokens, "
    f"{size.length + _EXTRA.value} tokens each.\n\n"
    f"{table}\n\nOn {hardware.count_cores()} cores together; goal: {_GOAL} "
    f"times {_HUGGING_FACE} at least. {ROUNDS.value} rounds of "
    f"{_SEARCHES.value} searches. "
    f"{interleaving.describe_disturbance([record], ROUNDS.value)}\n"
    + client.describe_not_measured([record]),
    record,
  )
  title = f"{size.title()}, beam {_BEAM.value}: sentences"
  chart.draw_speeds({title: seconds}, report.path(".png"), [_HUGGING_FACE])
  report.show()


if __name__ == "__main__":
  run(main)
