"""digits_cnn_sgd with Lookahead around the same SGD: k = 5, alpha = .5.

python -m trainers.image_classification \
    --config=configs/digits_cnn_lookahead.py --workdir=runs/digits_cnn_lookahead
"""

import ml_collections

from configs import digits_cnn_sgd, lookahead


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  return lookahead.add_to(
    digits_cnn_sgd.get_config(), sync_period=5, slow_step_size=0.5
  )
