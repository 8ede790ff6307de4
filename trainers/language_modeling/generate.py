r"""Continues a text with a trained run.

python -m trainers.language_modeling.generate --workdir=/tmp/pydoc \
    --prompt="the function returns" --words=100
"""

from collections.abc import Iterator, Sequence

import tensorflow as tf
from absl import flags

from trainers import flags as flags_lib
from trainers.errors import UserError
from trainers.language_modeling import trained
from trainers.language_modeling.model import AwdLstm
from trainers.language_modeling.vocabulary import END

_LEAST_TEMPERATURE = 1e-30  # Less than that may be 0 in float32.


def generate(
  model: AwdLstm,
  prompt: Sequence[int],
  count: int,
  *,
  temperature: float = 1.0,
  top_k: int | None = None,
  seed: int = 0,
) -> Iterator[int]:
  """Yields words that a model draws, each given all before it.

  Args:
    model: The model.
    prompt: Numbers of the words to begin with, one at least.
    count: How many words to draw.
    temperature: Divides the logits, positive.
    top_k: Of how many of the likeliest words to draw; None for all.
    seed: Decides what is drawn, in [0, 2**31).
  """

  @tf.function(autograph=False)
  def read(word, state):
    made = model.run(tf.reshape(word, (1, 1)), state)
    return made.logits, made.state

  state = model.zero_state(1)
  for word in prompt:
    logits, state = read(tf.constant(word), state)
  for place in range(count):
    word = draw(logits, (seed, place), temperature, top_k)
    yield int(word)
    logits, state = read(word, state)


def draw(
  logits: tf.Tensor,
  seed: tuple[int, int],
  temperature: float = 1.0,
  top_k: int | None = None,
) -> tf.Tensor:
  """Returns a word that is drawn, an int32 scalar.

  Args:
    logits: float32 (1, vocabulary size).
    seed: Decides which word it is.
    temperature: As for `generate`.
    top_k: As for `generate`.
  """
  if top_k and top_k < logits.shape[-1]:
    least = tf.math.top_k(logits, top_k).values[:, -1:]
    logits = tf.where(logits < least, float("-inf"), logits)
  # So the division by a very low temperature overflows for no likeliest word.
  logits -= tf.reduce_max(logits)
  drawn = tf.random.stateless_categorical(
    logits / max(temperature, _LEAST_TEMPERATURE), 1, seed, dtype=tf.int32
  )
  return drawn[0, 0]


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of this program."""
  trained.define_flags(values)
  flags.DEFINE_string(
    "prompt",
    "",
    "Words to begin with; by default the beginning of a line.",
    flag_values=values,
  )
  flags.DEFINE_integer(
    "words", 100, "How many to draw.", lower_bound=1, flag_values=values
  )
  flags.DEFINE_float(
    "temperature",
    1.0,
    "Divides the logits: below 1 likely words become likelier.",
    flag_values=values,
  )
  flags.DEFINE_integer(
    "top_k",
    None,
    "Draw one of so many of the likeliest words; by default of all.",
    lower_bound=1,
    flag_values=values,
  )
  flags.DEFINE_integer(
    "seed",
    0,
    "Another seed draws another text.",
    lower_bound=0,
    upper_bound=2**31 - 1,
    flag_values=values,
  )


def main(values: flags.FlagValues) -> None:
  """Prints the prompt and what follows."""
  if not 0 < values.temperature < float("inf"):
    raise UserError(
      f"--temperature must be positive. Received: {values.temperature}"
    )
  run = flags_lib.make_runtime(values)
  loaded = trained.load(run, values.weights)
  prompt = [END, *values.prompt.split()]
  drawn = generate(
    loaded.model,
    loaded.words.encode_words(prompt),
    values.words,
    temperature=values.temperature,
    top_k=values.top_k,
    seed=values.seed,
  )
  print(values.prompt, end="")
  is_first = not values.prompt
  for number in drawn:
    word = loaded.words.words[number]
    if word == END:
      print(flush=True)
    else:
      print(word if is_first else f" {word}", end="", flush=True)
    is_first = word == END
  print()


if __name__ == "__main__":
  flags_lib.run(main, define_flags)
