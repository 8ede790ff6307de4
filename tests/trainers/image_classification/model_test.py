import numpy as np
import tensorflow as tf
from ml_collections import config_dict

from trainers.errors import UserError
from trainers.image_classification.model import make_model


def _make(image_shape=(32, 32, 3), num_classes=10, **fields):
  return make_model(
    config_dict.create(**fields),
    image_shape=image_shape,
    num_classes=num_classes,
  )


def _resnet(width=64, blocks=(2, 2, 2, 2), **arguments):
  return _make(
    name="cifar_resnet", width=width, blocks_per_stage=blocks, **arguments
  )


class ModelTest(tf.test.TestCase):
  def test_wide_resnet_18_has_its_parameters(self):
    # Counted by hand for the wide CIFAR form: a stem of 3*3*3*64; blocks of
    # 3x3 convolutions; 1x1 shortcuts where the width doubles; a scale and an
    # offset after each convolution; one dense layer.
    def block(i, o):
      shortcut = i * o + 2 * o if i != o else 0
      return 9 * i * o + 9 * o * o + 4 * o + shortcut

    expected = 27 * 64 + 2 * 64 + 512 * 10 + 10
    for i, o in ((64, 64), (64, 128), (128, 256), (256, 512)):
      expected += block(i, o) + block(o, o)
    self.assertEqual(expected, 11_173_962)
    model = _resnet()
    self.assertEqual(
      sum(np.prod(v.shape) for v in model.trainable_variables), expected
    )

  def test_shapes(self):
    for model in (
      _resnet(width=4, blocks=(1, 1, 1)),
      _make(name="cnn", width=4, image_shape=(8, 8, 1)),
    ):
      shape = model.input_shape[1:]
      logits = model(tf.zeros((2, *shape)), training=True)
      self.assertEqual(logits.shape, (2, 10))
      self.assertEqual(logits.dtype, tf.float32)

  def test_strides_halve_each_stage_but_the_first(self):
    model = _resnet(width=4)
    for stage, size in enumerate((32, 16, 8, 4)):
      layer = model.get_layer(f"stage{stage}_block1")
      self.assertEqual(layer.output.shape[1:3], (size, size))

  def test_strided_convolution_is_centred_as_in_pytorch(self):
    # With one pixel of zeros on each side, output (0, 0) sees input (1, 1) at
    # the far corner of its 3x3 window; with Keras' "same" it would see (2, 2).
    model = _resnet(width=1, blocks=(1, 1))
    layer = model.get_layer("stage1_block0_conv0")
    self.assertEqual(layer.padding, "valid")
    self.assertEqual(layer.input.shape[1:3], (34, 34))

  def test_unknown_model(self):
    with self.assertRaisesRegex(UserError, "Received: 'resnet'"):
      _make(name="resnet", width=4)


if __name__ == "__main__":
  tf.test.main()
