"""WMT14 English-German, Transformer base, Adam: the paper's section 5.4.

The baseline: tensor2tensor's `transformer_base` as it is trained on a TPU, with
8 cores x 2,048 tokens, for 50,000 steps. Adam's values and the learning rate,
2 / sqrt(d_model) * min(s / 8000^1.5, 1 / sqrt(s)) in step s, are those of
`transformer_base_v3`.

python -m trainers.translation \
    --config=configs/wmt14_transformer_base_adam.py --data_dir=DIR \
    --workdir=WORKDIR --precision=bfloat16

DIR holds TFDS's wmt14_translate/de-en.

Expected: a training loss of about 2.60 at step 6,000 and of about 1.72 at
50,000, read off the paper's plot. Here: not run.
"""

import ml_collections

from configs import translation


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = translation.get_config()
  config.num_steps = 50_000
  config.global_batch_tokens = 8 * 2_048
  config.data.name = "wmt14_translate/de-en"
  config.data.test_split = "test"
  config.data.max_length = 256
  config.vocabulary.size = 32_000
  # Common Crawl has characters of all the world: the rare ones become bytes.
  config.vocabulary.character_coverage = 0.9999
  config.vocabulary.split_digits = False
  config.model.d_model = 512
  config.model.num_heads = 8
  config.model.num_layers = 6
  config.model.d_ff = 2_048
  config.model.shares_dropout = True
  config.learning_rate.factors = (
    "constant*linear_warmup*rsqrt_normalized_decay*rsqrt_hidden_size"
  )
  config.learning_rate.constant = 2 / 8_000**0.5
  config.learning_rate.warmup_steps = 8_000
  config.steps_per_loop = 500
  config.eval_every_steps = 5_000
  config.checkpoint_every_steps = 1_000
  config.keep_checkpoints = 10
  config.average_checkpoints = 10  # For --mode=translate --weights=average.
  config.final_weights = "last"
  return config
