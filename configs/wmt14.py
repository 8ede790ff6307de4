r"""WMT14 English-German, Transformer: the paper's section 5.4.

python -m trainers.translation --config=configs/wmt14.py:WORDS \
    --data_dir=DIR --workdir=WORKDIR --precision=bfloat16

DIR holds TFDS's wmt14_translate/de-en.

WORDS, one of each of the first two lines, by default the first:

base, big                   the model
lookahead, adam, adafactor  the optimizer; lookahead goes around the same adam
no_warmup                   the learning rate is at its greatest in the first
                            8,000 steps and then decays as with warmup; not
                            with adafactor, which has no warmup

base       tensor2tensor's `transformer_base` as it is trained on a TPU, with 8
           cores x 2,048 tokens, for 50,000 steps.
big        Width, heads and dropout of tensor2tensor's `transformer_big`, which
           is not in the paper.
adam       Adam's values and the learning rate, 2 / sqrt(d_model) *
           min(s / 8000^1.5, 1 / sqrt(s)) in step s, are those of
           `transformer_base_v3`.
lookahead  k = 10, alpha = .5. The learning rate is .04 in tensor2tensor's
           normalized form, the middle of .02, .04 and .06; docs/translation.md
           says what that means, and what is not known of it. The other period:
           --config.lookahead.sync_period=5.
adafactor  What tensor2tensor recommends on TPUs (`update_hparams_for_tpu`):
           Adafactor without momentum, relative to the scale of the parameters,
           with the learning rate 1 / sqrt(max(s, 10000)) in step s.

Expected is the training loss at step 6,000 and at step 50,000, read off the
paper's plot; the rate is the greatest of the schedule:

words                     rate    section  expected                      here
------------------------  ------  -------  ----------------------------  -------
base,lookahead            .00177  5.4      about 2.22, about 1.77        not run
base,adam                 9.9e-4  5.4      about 2.60, about 1.72        not run
base,adafactor            .01     5.4      about 2.38, about 1.78        not run
base,no_warmup,lookahead  .00177  5.4      that it trains (in the plot)  not run
big,lookahead             .00125  -        -                             not run
big,adam                  7e-4    -        -                             not run
"""

import ml_collections

from configs import lookahead, translation, words

WORDS = words.Words(
  __doc__,
  one_of=(("base", "big"), ("lookahead", "adam", "adafactor")),
  any_of=("no_warmup",),
  exclude=(("adafactor", "no_warmup"),),
)


def get_config(text: str = "") -> ml_collections.ConfigDict:
  """Returns the experiment that the words in `text` choose."""
  chosen = WORDS.choose(text)
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
  config.learning_rate.warmup = 8_000
  config.learning_rate.decay_at = (8_000,)
  config.steps_per_loop = 500
  config.eval_every_steps = 5_000
  config.checkpoint_every_steps = 1_000
  config.keep_checkpoints = 10
  config.average_checkpoints = 10  # For translate --weights=average.
  config.final_weights = "last"
  if "big" in chosen:
    config.model.d_model = 1_024
    config.model.num_heads = 16
    config.model.d_ff = 4_096
    config.model.dropout = 0.3
  if "no_warmup" in chosen:
    config.learning_rate.warmup = 0
  # In tensor2tensor's normalized form, which the width divides.
  rate = 0.04 if "lookahead" in chosen else 2 / 8_000**0.5
  config.learning_rate.peak = rate / config.model.d_model**0.5
  if "lookahead" in chosen:
    lookahead.add_to(config, sync_period=10, slow_step_size=0.5)
  elif "adafactor" in chosen:
    config.optimizer.name = "adafactor"
    config.optimizer.arguments = {
      "beta_2_decay": -0.8,
      "epsilon_1": 1e-30,
      "epsilon_2": 1e-3,
      "clip_threshold": 1.0,
    }
    config.learning_rate.peak = 10_000**-0.5
    config.learning_rate.warmup = 0
    config.learning_rate.decay_at = (10_000,)
  return config
