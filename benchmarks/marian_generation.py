"""Beam searches of Hugging Face's MarianMTModel, for peer_worker.py to time."""

import time
from collections.abc import Callable

import torch
import transformers


def make_runner(
  sizes: dict[str, int],
  source_shape: tuple[int, int],
  new_tokens: int,
  beam_size: int,
  length_penalty: float,
  threads: int,
) -> Callable[[int], float]:
  """Returns a function that searches, and returns the seconds of a search.

  Its argument is the number of searches; the time is their mean.

  Args:
    sizes: `vocab_size`, `d_model`, and `ffn_dim`, `attention_heads` and
      `layers` of the encoder and as many of the decoder.
    source_shape: Sentences, and the tokens of each.
    new_tokens: Of each translation: no more, no fewer.
    beam_size: Hypotheses of a sentence.
    length_penalty: Of the search.
    threads: That an operation may use.
  """
  torch.set_num_threads(threads)
  torch.manual_seed(0)
  both = ("ffn_dim", "attention_heads", "layers")
  config = transformers.MarianConfig(
    vocab_size=sizes["vocab_size"],
    d_model=sizes["d_model"],
    **{
      f"{side}_{name}": sizes[name]
      for side in ("encoder", "decoder")
      for name in both
    },
    activation_function="relu",
    scale_embedding=True,
    max_position_embeddings=source_shape[1] + new_tokens,
    pad_token_id=0,
    eos_token_id=1,
    forced_eos_token_id=None,
    decoder_start_token_id=0,
  )
  model = transformers.MarianMTModel(config).eval()
  source = torch.randint(3, sizes["vocab_size"], source_shape)
  mask = torch.ones_like(source)

  def run(steps):
    started = time.perf_counter()
    with torch.inference_mode():
      for _ in range(steps):
        tokens = model.generate(
          source,
          attention_mask=mask,
          num_beams=beam_size,
          length_penalty=length_penalty,
          min_new_tokens=new_tokens,
          max_new_tokens=new_tokens,
        )
    seconds = (time.perf_counter() - started) / steps
    if tokens.shape[1] != new_tokens + 1:  # And the start.
      raise AssertionError(f"Unexpected length: {tokens.shape}.")
    return seconds

  return run
