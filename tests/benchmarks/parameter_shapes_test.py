import math

import tensorflow as tf

from benchmarks import parameter_shapes


class ParameterShapesTest(tf.test.TestCase):
  def test_resnet50_has_the_published_number_of_parameters(self):
    # torchvision: sum(p.numel() for p in resnet50().parameters()).
    shapes = parameter_shapes.resnet50()
    self.assertEqual(parameter_shapes.count(shapes), 25_557_032)
    # 53 convolutions, each with gamma and beta, and the last layer.
    self.assertLen(shapes, 53 * 3 + 2)
    self.assertLen([s for s in shapes if len(s) == 4], 53)
    self.assertEqual(
      sum(math.prod(s) for s in shapes if len(s) == 4), 23_454_912
    )

  def test_transformer_base_has_the_parts_of_table_3(self):
    # d = 512, inner 4 d: an attention has 4 d^2, a feed-forward layer 8 d^2 and
    # biases of 5 d, a normalization 2 d.
    d = 512
    encoder_layer = 12 * d**2 + 5 * d + 2 * 2 * d
    decoder_layer = 16 * d**2 + 5 * d + 3 * 2 * d
    expected = 6 * (encoder_layer + decoder_layer) + 2 * 2 * d
    for vocabulary in (2**15, 37_000):
      self.assertEqual(
        parameter_shapes.count(parameter_shapes.transformer_base(vocabulary)),
        expected + vocabulary * d,
      )
    # A layer's tensors: a matrix or a vector each.
    self.assertLen(
      parameter_shapes.transformer_base(), 6 * (12 + 18) + 2 * 2 + 1
    )


if __name__ == "__main__":
  tf.test.main()
