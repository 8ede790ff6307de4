import keras
import numpy as np
import tensorflow as tf
from ml_collections import config_dict

from lookahead_tf import Lookahead
from trainers import optimizers
from trainers.errors import UserError

_RATE = keras.optimizers.schedules.CosineDecay(0.1, 10)


def _make(name="sgd", arguments=None, lookahead=None, replicas=1):
  return optimizers.make_optimizer(
    config_dict.create(
      optimizer={"name": name, "arguments": arguments or {}},
      lookahead=lookahead and config_dict.create(**lookahead),
    ),
    _RATE,
    replicas,
  )


class OptimizersTest(tf.test.TestCase):
  def test_inner_optimizer_with_its_arguments(self):
    optimizer = _make("AdamW", {"weight_decay": 0.5, "beta_1": 0.8})
    self.assertIsInstance(optimizer, keras.optimizers.AdamW)
    self.assertEqual(optimizer.weight_decay, 0.5)
    self.assertEqual(optimizer.beta_1, 0.8)
    self.assertAllClose(optimizer.learning_rate, 0.1)

  def test_lookahead_around_it(self):
    optimizer = _make(
      "sgd", {"momentum": 0.9}, {"sync_period": 7, "exclude": ["bias"]}
    )
    self.assertIsInstance(optimizer, Lookahead)
    self.assertEqual(optimizer.sync_period, 7)
    self.assertEqual(optimizer.inner_optimizer.momentum, 0.9)

  def test_limits_of_the_gradient_are_kept_for_one_replica_alone(self):
    arguments = {"momentum": 0.9, "clipnorm": 1.0}
    self.assertEqual(_make("sgd", arguments).clipnorm, 1.0)
    optimizer = _make("sgd", arguments, replicas=2)
    self.assertIsNone(optimizer.clipnorm)
    self.assertEqual(optimizer.momentum, 0.9)

  def test_float16_scales_the_loss_outside(self):
    self.addCleanup(keras.config.set_dtype_policy, "float32")
    keras.config.set_dtype_policy("mixed_float16")
    optimizer = _make(lookahead={"sync_period": 5})
    self.assertIsInstance(optimizer, keras.optimizers.LossScaleOptimizer)
    self.assertIsInstance(optimizer.inner_optimizer, Lookahead)

  def test_mistakes(self):
    for arguments, message in (
      (("sgdd",), "Received: 'sgdd'"),
      (("sgd", {"momentun": 0.9}), "momentun"),
      (("sgd", {}, {"sync_period": 0}), "sync_period=0"),
    ):
      with self.assertRaisesRegex(UserError, message):
        _make(*arguments)

  def test_weights_to_evaluate(self):
    for lookahead, expected in ((None, 0.9), ({"sync_period": 5}, 1.0)):
      model = keras.Sequential(
        [
          keras.Input((1,)),
          keras.layers.Dense(1, use_bias=False, kernel_initializer="ones"),
        ]
      )
      optimizer = _make(lookahead=lookahead)
      optimizer.apply([tf.ones((1, 1))], model.trainable_variables)
      with optimizers.weights_to_evaluate(model, optimizer):
        inside = np.array(model.trainable_variables[0])
      self.assertAllClose(inside, [[expected]])
      self.assertAllClose(model.trainable_variables[0], [[0.9]])


if __name__ == "__main__":
  tf.test.main()
