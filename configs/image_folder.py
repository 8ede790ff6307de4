r"""Any folder of small images, a narrow ResNet-8.

Not an experiment of the paper: a CIFAR ResNet of one block of 16, 32 and 64
channels, which learns from 10,000 images of 32x32 in minutes on two cores.

python -m trainers.image_classification --config=configs/image_folder.py:WORDS \
    --data_dir=FOLDER --workdir=runs/image_folder

FOLDER holds train/CLASS/*.jpg and validation/CLASS/*.jpg. If FOLDER holds
CLASS/*.jpg alone, --config.data.validation_fraction=0.2 holds out a fifth.

WORDS, one line of these, by default the first:

lookahead        Lookahead around the same SGD: k = 5, alpha = .5
sgd              SGD with momentum .9
adamw            AdamW
adamw,lookahead  Lookahead around the same AdamW: k = 5, alpha = .5

The learning rate of each is the best of five, a greater one for Lookahead
(docs/learning_rates.md, which has the others too). To compare two at one rate
give both --config.learning_rate.peak. On a few hundred images that make a dozen
or two steps, .1 was better than 1: give it there.

Here is the final accuracy over 3 seeds on 2,000 images, after training on
10,000 images of CIFAR-10, on 2026-11-26:

words            rate  here
---------------  ----  ---------------
lookahead        1     59.07 +- 1.33 %
sgd              .3    57.23 +- .53 %
adamw            .03   58.05 +- .13 %
adamw,lookahead  .09   60.23 +- .85 %
"""

import ml_collections
from ml_collections import config_dict

from configs import image_classification, lookahead, words

WORDS = words.Words(
  __doc__, one_of=(("lookahead", "sgd", "adamw", "adamw,lookahead"),)
)


def get_config(text: str = "") -> ml_collections.ConfigDict:
  """Returns the experiment that the words in `text` choose."""
  chosen = WORDS.choose(text)
  config = image_classification.get_config()
  config.num_epochs = 6.0
  config.global_batch_size = 128
  config.data.name = "image_folder"
  config.data.image_size = 32
  config.data.mean = (0.4914, 0.4822, 0.4465)
  config.data.std = (0.2470, 0.2435, 0.2616)
  config.data.crop_padding = 4
  config.data.horizontal_flip = True
  config.model.name = "cifar_resnet"
  config.model.width = 16
  config.model.blocks_per_stage = (1, 1, 1)
  config.learning_rate.schedule = "cosine"
  config.learning_rate.warmup = 1.0
  config.l2_penalty = 5e-4
  config.steps_per_loop = 39
  is_lookahead = "lookahead" in chosen
  config.learning_rate.peak = 1.0 if is_lookahead else 0.3
  if "adamw" in chosen:
    config.optimizer = config_dict.create(
      name="adamw", arguments=dict(weight_decay=0.05)
    )
    config.learning_rate.peak = 0.09 if is_lookahead else 0.03
    config.l2_penalty = 0.0  # AdamW's decay is decoupled from the gradient.
  if is_lookahead:
    lookahead.add_to(config, sync_period=5, slow_step_size=0.5)
  return config
