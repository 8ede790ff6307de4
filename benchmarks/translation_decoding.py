"""How fast is the translation trainer's beam search beside Hugging Face's?

Times searches of the trainer's Transformer, as a graph and by XLA, and of
`generate` of Hugging Face's MarianMTModel of the same size, with its cache of
keys and values, in a process of its own with as many threads. They take turns.
Weights are random, and nothing may end before the greatest length, so that all
make the same number of steps. Writes table.md, results.json and speed.png.

python -m benchmarks.translation_decoding --workdir=runs/decoding \
    --peers_python=peers/bin/python  # See requirements-peers.txt.
"""

import functools
import time

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks import results, small_transformer, speed
from trainers.translation import decoding
from trainers.translation import model as model_lib
from trainers.translation.beam_search import Beam

_WORKDIR = flags.DEFINE_string("workdir", None, "Where to write the results.")
_ROUNDS = flags.DEFINE_integer("rounds", 10, "Of each.", lower_bound=1)
_SENTENCES = flags.DEFINE_integer("sentences", 32, "In a batch.")
_LENGTH = flags.DEFINE_integer("length", 24, "Tokens of a source.")
_EXTRA = flags.DEFINE_integer(
  "extra_length", 8, "Tokens that a translation has more."
)
_BEAM = flags.DEFINE_integer("beam_size", 4, "Hypotheses of a sentence.")

_HUGGING_FACE = "Hugging Face"
_GOAL = 1.0


def _config():
  config = small_transformer.make_config()
  config.decoding.beam_size = _BEAM.value
  return config


def _make_runner(config, uses_xla):
  """Returns a `speed.Runner` whose steps are searches."""
  keras.utils.set_random_seed(0)
  model = model_lib.make_model(config.model, config.vocabulary.size)
  beam = Beam(config.decoding.beam_size, config.decoding.length_penalty)
  # The end of sentence gets a logit of 0: others are always likelier.
  embedding = model.get_layer("embedding").weights[0]
  embedding.assign(
    tf.tensor_scatter_nd_update(
      embedding, [[beam.eos_id]], tf.zeros((1, config.model.d_model))
    )
  )
  decode = decoding.make_decoder(model, beam, _EXTRA.value, uses_xla)
  random = np.random.default_rng(0)
  shape = (_SENTENCES.value, _LENGTH.value)
  source = tf.constant(
    random.integers(3, config.vocabulary.size, shape, "int32")
  )

  def run(steps):
    started = time.perf_counter()
    for _ in range(steps):
      tokens = decode(source).numpy()
    seconds = (time.perf_counter() - started) / steps
    if (tokens[:, -1] != beam.eos_id).any():
      raise AssertionError("A translation ended before its greatest length.")
    return seconds

  return run


def _time(run):
  """Returns a record for results.json."""
  config = _config()
  title = small_transformer.title()
  arguments = {
    "sizes": {
      "vocab_size": config.vocabulary.size,
      "d_model": config.model.d_model,
      "ffn_dim": config.model.d_ff,
      "attention_heads": config.model.num_heads,
      "layers": config.model.num_layers,
    },
    "source_shape": (_SENTENCES.value, _LENGTH.value),
    "new_tokens": _LENGTH.value + _EXTRA.value,
    "beam_size": config.decoding.beam_size,
    "length_penalty": config.decoding.length_penalty,
  }
  measured = speed.measure(
    title,
    {
      "ours, graph": functools.partial(_make_runner, config, False),
      "ours, XLA": functools.partial(_make_runner, config, True),
    },
    (_HUGGING_FACE, "marian_generation", arguments),
    rounds=_ROUNDS.value,
    versions=run["versions"],
  )
  return {
    "model": title,
    "batch": f"{_SENTENCES.value} x {_LENGTH.value}, beam {_BEAM.value}",
    "per_step": _SENTENCES.value,
    **measured,
  }


def main(arguments: list[str]) -> None:
  """Measures, prints and draws."""
  if len(arguments) > 1:
    raise app.UsageError(f"Unknown arguments: {arguments[1:]}")
  run = results.describe_run(
    "benchmarks.translation_decoding", ["lookahead-tf", "tensorflow", "keras"]
  )
  records = [_time(run)]
  text = speed.write(
    _WORKDIR.value,
    run,
    records,
    "sentences",
    _HUGGING_FACE,
    goal=_GOAL,
    rounds=_ROUNDS.value,
  )
  print(f"\n{text}\nWritten to {_WORKDIR.value}")


if __name__ == "__main__":
  flags.mark_flags_as_required(["workdir"])
  app.run(main)
