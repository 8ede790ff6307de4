"""WMT14 English-German, Transformer base, Lookahead over Adam: section 5.4.

As wmt14_transformer_base_adam, with k = 10 and alpha = .5 around the same Adam.
The learning rate is .04 in tensor2tensor's normalized form, the middle of .02,
.04 and .06; docs/translation.md says what that means, and what is not known of
it. The other period: --config.lookahead.sync_period=5.

python -m trainers.translation \
    --config=configs/wmt14_transformer_base_lookahead.py --data_dir=DIR \
    --workdir=WORKDIR --precision=bfloat16

Expected: a training loss of about 2.22 at step 6,000 and of about 1.77 at
50,000, read off the paper's plot. Here: not run.
"""

import ml_collections

from configs import lookahead, wmt14_transformer_base_adam


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = wmt14_transformer_base_adam.get_config()
  config.learning_rate.constant = 0.04
  return lookahead.add_to(config, sync_period=10, slow_step_size=0.5)
