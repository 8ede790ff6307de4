"""Trains a translation model, and translates with it: the paper's section 5.4.

python -m trainers.translation \
    --config=configs/phrases.py --workdir=/tmp/cldr
python -m trainers.translation --mode=translate --workdir=/tmp/cldr \
    --input=FILE --output=FILE
python -m trainers.translation --mode=export --workdir=/tmp/cldr --output=DIR
"""

from trainers import flags
from trainers.translation import experiment, export, train, translate

if __name__ == "__main__":
  flags.run(
    train.train,
    compile_for_tpu=experiment.compile_for_tpu,
    modes={
      "translate": flags.Mode(
        translate.translate, ("input", "output", "beam_size", "weights")
      ),
      "export": flags.Mode(export.export, ("output", "beam_size", "weights")),
    },
  )
