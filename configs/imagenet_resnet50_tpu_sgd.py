"""ImageNet, ResNet-50, SGD, for a TPU of 8 cores.

As imagenet_resnet50_sgd, but not with the paper's batch:
1024, with learning rate .4 after five epochs of warmup.

python -m trainers.image_classification \
    --config=configs/imagenet_resnet50_tpu_sgd.py \
    --data_dir=gs://BUCKET/tfds --workdir=gs://BUCKET/runs/NAME \
    --strategy=tpu --tpu=local --precision=bfloat16

Expected: the paper has no figure of this batch. Here: not run.
"""

import ml_collections

from configs import imagenet_resnet50_sgd, tpu


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  return tpu.for_node(imagenet_resnet50_sgd.get_config())
