r"""Trains a translation model: the paper's section 5.4.

python -m trainers.translation --config=configs/phrases.py \
    --workdir=/tmp/phrases

`trainers.translation.translate` translates a file with a trained run, and
`trainers.translation.export` makes a saved model of it.
"""

from trainers import trainer
from trainers.translation import checks, experiment, train

TRAINER = trainer.Trainer(
  load=experiment.load,
  check_fields=checks.check_fields,
  check=checks.check,
  unpack=experiment.unpack,
  source_to_compile=experiment.source_to_compile,
  train=train.train,
  make_step=train.make_step,
  batch_field="global_batch_tokens",
  unit="tokens",
)

if __name__ == "__main__":
  trainer.run(TRAINER)
