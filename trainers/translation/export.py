"""A saved model from text to text: --mode=export."""

import ml_collections
import tensorflow as tf

from trainers import errors, paths, runtime
from trainers.errors import UserError
from trainers.translation import decoding, trained
from trainers.translation.beam_search import Beam
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
    config = loaded.decoding
    beam = Beam(config.beam_size, config.length_penalty)

    @tf.function(
      input_signature=[tf.TensorSpec([None], tf.string, name="sentences")],
      autograph=False,
    )
    def translate(sentences):
      source, lengths = self._words.tokenize_up_to(sentences, config.max_length)
      tokens, _ = decoding.search(
        loaded.model, source.to_tensor(PAD), beam, config.extra_length
      )
      text = self._words.detokenize(tokens[:, 0])
      # Of no text but the end of the sentence, nothing is the translation.
      return {"translations": tf.where(lengths > 1, text, "")}

    self.translate = translate


def export(
  run: runtime.Runtime, config: ml_collections.ConfigDict | None
) -> None:
  """Writes the model of a run to the directory --output.

  Its signature "serving_default" takes "sentences", strings (any number,), and
  gives "translations", likewise.

  Args:
    run: Where the trained run is.
    config: That of the command line, which has to be the run's, or None.

  Raises:
    UserError: for what the user can put right.
  """
  output = trained.output()
  paths.check_no_pattern(output=output)
  if tf.io.gfile.exists(output):
    raise UserError(
      f"--output={output} is there already: give a new directory."
    )
  loaded = trained.load(run, config)
  if not run.is_chief:
    return
  served = Served(loaded)
  partial = f"{output}.tmp"
  with errors.writing(
    output, on_error=lambda: tf.io.gfile.rmtree(partial), resumes=False
  ):
    tf.saved_model.save(
      served, partial, signatures={"serving_default": served.translate}
    )
    tf.io.gfile.rename(partial, output)
  print(f"{output}: a saved model ({loaded.weights})")
