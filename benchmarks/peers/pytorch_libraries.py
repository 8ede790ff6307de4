"""Work of libraries around PyTorch, for server.py to time.

Hugging Face's beam search and torchvision's input of images. Each public
function returns one runner, "bare": a function of a number of steps that
returns the mean seconds of one. A function imports its library by itself: the
other one need not be installed.
"""

import time
from collections.abc import Callable

import torch

Runners = dict[str, Callable[[int], float]]


def generation(
  sizes: dict[str, int],
  source_shape: tuple[int, int],
  new_tokens: int,
  beam_size: int,
  length_penalty: float,
  threads: int,
) -> Runners:
  """Returns a runner of beam searches of Hugging Face's MarianMTModel.

  Args:
    sizes: `vocab_size`, `d_model`, and `ffn_dim`, `attention_heads` and
      `layers` of the encoder and as many of the decoder.
    source_shape: Sentences, and the tokens of each.
    new_tokens: Tokens of each translation: no more, no fewer.
    beam_size: Hypotheses of a sentence.
    length_penalty: Length penalty of the search.
    threads: Threads that an operation may use.
  """
  import transformers

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
    if tokens.shape[1] != new_tokens + 1:  # The start is one more.
      raise AssertionError(f"Unexpected length: {tokens.shape}.")
    return seconds

  return {"bare": run}


def image_input(
  folder: str, image_size: int, batch_size: int, threads: int
) -> Runners:
  """Returns a runner that loads training batches by torchvision.

  As in PyTorch's example for ImageNet: a folder of class folders, a random
  resized crop, a flip, floats, normalized, batches by a DataLoader.

  Args:
    folder: Holds a folder of images for each class.
    image_size: Height and width of the result.
    batch_size: Images in a batch.
    threads: Processes that load.
  """
  from torchvision import datasets, transforms

  torch.set_num_threads(1)  # This process only collects.
  images = datasets.ImageFolder(
    folder,
    transforms.Compose(
      [
        transforms.RandomResizedCrop(image_size),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
      ]
    ),
  )
  sampler = _Sample(len(images))
  loader = torch.utils.data.DataLoader(
    images,
    batch_size,
    sampler=sampler,
    num_workers=threads,
    persistent_workers=True,
  )

  def run(steps):
    sampler.length = steps * batch_size
    started = time.perf_counter()
    for _ in loader:
      pass
    return (time.perf_counter() - started) / steps

  return {"bare": run}


class _Sample(torch.utils.data.Sampler):
  """A number of indices in random order, each image about equally often."""

  def __init__(self, size):
    self.size, self.length = size, 0

  def __len__(self):
    return self.length

  def __iter__(self):
    order = []
    while len(order) < self.length:
      order += torch.randperm(self.size).tolist()
    return iter(order[: self.length])
