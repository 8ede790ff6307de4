"""Trains an image classifier: the paper's section 5.1 and 5.2.

python -m trainers.image_classification \
    --config=configs/digits.py --workdir=/tmp/digits
"""

from trainers import flags
from trainers.image_classification import train

if __name__ == "__main__":
  flags.run(
    train.train, compile_for_tpu=train.compile_for_tpu, has_fake_data=True
  )
