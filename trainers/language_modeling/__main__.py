r"""Trains a language model: the paper's section 5.3.

python -m trainers.language_modeling --config=configs/pydoc.py \
    --workdir=/tmp/pydoc

`trainers.language_modeling.generate` continues a text with a trained run, and
`trainers.language_modeling.evaluate` gives the perplexity of a text file.
"""

from trainers import trainer
from trainers.language_modeling import checks, experiment, train

TRAINER = trainer.Trainer(
  load=experiment.load,
  check_fields=checks.check_fields,
  check=checks.check,
  unpack=experiment.unpack,
  source_to_compile=experiment.source_to_compile,
  train=train.train,
  make_step=train.make_step,
  unit="columns",
)

if __name__ == "__main__":
  trainer.run(TRAINER)
