r"""Exports a trained run as a saved model from text to text.

python -m trainers.translation.export --workdir=/tmp/phrases --output=DIR
"""

import tensorflow as tf
from absl import flags

from trainers import devices
from trainers import flags as flags_lib
from trainers import trained as shared
from trainers.translation import beam_search, trained
from trainers.translation.vocabulary import PAD


class Served(tf.Module):
  """What is saved: `translate`, and the variables and files it needs.

  Args:
    loaded: A trained model.
  """

  def __init__(self, loaded: trained.Trained):
    super().__init__(name="translation")
    self._words = loaded.words
    self._variables = [v.value for v in loaded.model.trainable_variables]
    decoding = loaded.decoding

    @tf.function(
      input_signature=[tf.TensorSpec([None], tf.string, name="sentences")],
      autograph=False,
    )
    def translate(sentences):
      source, lengths = self._words.tokenize_up_to(
        sentences, decoding.max_length
      )
      tokens, _ = beam_search.search(
        loaded.model,
        source.to_tensor(PAD),
        decoding.beam,
        decoding.extra_length,
      )
      text = self._words.detokenize(tokens[:, 0])
      # The translation of an empty sentence is empty.
      text = tf.where(lengths > 1, text, "")
      # JSON has to be UTF-8, and bytes that `byte_fallback` spells need not be.
      text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8")
      return {"translations": text}

    self.translate = translate


def export(
  run: devices.Runtime,
  output: str,
  *,
  weights: str | None = None,
  beam_size: int | None = None,
) -> None:
  """Writes the model of a run as a saved model.

  Its signature "serving_default" takes "sentences", strings (any number,), and
  returns "translations", likewise.

  Args:
    run: Where the trained run is.
    output: The directory to write, which must not be there.
    weights: As for `trained.load`.
    beam_size: As for `trained.load`.

  Raises:
    UserError: for what the user can put right.
  """
  output = shared.check_new_directory(output)
  loaded = trained.load(run, weights, beam_size)
  if not run.is_chief:
    return
  served = Served(loaded)
  shared.save_module(served, {"serving_default": served.translate}, output)
  print(f"{output}: a saved model ({loaded.weights})")


def main(values: flags.FlagValues) -> None:
  """Exports as the flags say."""
  export(
    flags_lib.make_runtime(values),
    values.output,
    weights=values.weights,
    beam_size=values.beam_size,
  )


if __name__ == "__main__":
  flags_lib.run(main, trained.define_flags)
