r"""Trains an image classifier: the paper's section 5.1 and 5.2.

python -m trainers.image_classification \
    --config=configs/digits.py --workdir=/tmp/digits

`trainers.image_classification.predict` classifies photos with a trained run,
and `trainers.image_classification.export` makes a saved model of it.
"""

from trainers import trainer
from trainers.image_classification import checks, experiment, train

TRAINER = trainer.Trainer(
  load=experiment.load,
  check_fields=checks.check_fields,
  check=checks.check,
  unpack=experiment.unpack,
  source_to_compile=experiment.source_to_compile,
  train=train.train,
  make_step=train.make_step,
)

if __name__ == "__main__":
  trainer.run(TRAINER)
