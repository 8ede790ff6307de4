"""WMT14 English-German, Transformer base, Adafactor: section 5.4.

As wmt14_transformer_base_adam, with what tensor2tensor recommends on TPUs
(`update_hparams_for_tpu`): Adafactor without momentum, relative to the scale of
the parameters, with the learning rate 1 / sqrt(max(s, 10000)) in step s.

python -m trainers.translation \
    --config=configs/wmt14_transformer_base_adafactor.py --data_dir=DIR \
    --workdir=WORKDIR --precision=bfloat16

Expected: a training loss of about 2.38 at step 6,000 and of about 1.78 at
50,000, read off the paper's plot. Here: not run.
"""

import ml_collections

from configs import wmt14_transformer_base_adam


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = wmt14_transformer_base_adam.get_config()
  config.optimizer.name = "adafactor"
  config.optimizer.arguments = {
    "beta_2_decay": -0.8,
    "epsilon_1": 1e-30,
    "epsilon_2": 1e-3,
    "clip_threshold": 1.0,
  }
  config.learning_rate.factors = "rsqrt_decay"
  config.learning_rate.warmup_steps = 10_000
  return config
