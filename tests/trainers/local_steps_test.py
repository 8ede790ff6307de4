import os
import warnings

import keras
import numpy as np
import tensorflow as tf

from lookahead_tf import Lookahead
from tests import replicas
from trainers.checkpoints import Checkpoints


class _Replicas:
  """A weight on two replicas, or one, with local steps of three updates."""

  def __init__(self, workdir, count=2):
    self.strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    if count == 2:
      self.strategy = replicas.mirrored()
    with self.strategy.scope():
      self.model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, use_bias=False)]
      )
      self.optimizer = Lookahead(keras.optimizers.SGD(0.1), 3, local_steps=True)
      self.optimizer.build(self.model.trainable_variables)
    self.model.set_weights([np.ones((1, 1))])
    self.checkpoints = Checkpoints(
      workdir, self.model, self.optimizer, strategy=self.strategy
    )

  def train(self, steps):
    @tf.function
    def step():
      def one_replica():
        context = tf.distribute.get_replica_context()
        number = tf.cast(context.replica_id_in_sync_group, tf.float32)
        gradient = tf.reshape(1.0 + number, (1, 1))
        self.optimizer.apply([gradient], self.model.trainable_variables)

      self.strategy.run(one_replica)

    for _ in range(steps):
      step()

  def weights(self):
    (variable,) = self.model.trainable_variables
    copies = self.strategy.experimental_local_results(variable.value)
    return [copy.numpy().item() for copy in copies]

  def save(self, step):
    self.checkpoints.save_replicas(step)
    self.checkpoints.save(step)


class LocalStepsTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])

  def _files(self):
    names = os.listdir(os.path.join(self.workdir, "checkpoints"))
    return {name for name in names if name.endswith(".index")}

  def test_each_replica_goes_on(self):
    ours = _Replicas(self.workdir)
    for step in (1, 2, 3, 4):
      ours.train(1)
      ours.save(step)
    self.assertEqual(
      self._files(),
      {
        f"ckpt-{step}{replica}.index"
        for step in (3, 4)
        for replica in ("", ".replicas-0-of-1x2")
      },
    )
    again = _Replicas(self.workdir)
    with warnings.catch_warnings():
      warnings.simplefilter("error", UserWarning)
      self.assertEqual(again.checkpoints.restore(), 4)
    self.assertNotEqual(*again.weights())
    self.assertEqual(again.weights(), ours.weights())

  def test_another_number_of_replicas_starts_from_the_slow_weights(self):
    for saves, restores in ((2, 1), (1, 2)):
      workdir = f"{self.workdir}{saves}"
      ours = _Replicas(workdir, saves)
      ours.train(4)
      ours.save(4)
      slow = ours.optimizer.slow_weights[0].numpy().item()
      again = _Replicas(workdir, restores)
      with self.assertWarnsRegex(UserWarning, "ckpt-4.*slow weights"):
        again.checkpoints.restore()
      self.assertEqual(again.weights(), [slow] * restores)

  def test_files_of_a_run_that_was_killed_are_not_taken(self):
    killed = _Replicas(self.workdir)
    killed.train(2)
    killed.checkpoints.save_replicas(2)
    killed.train(2)
    killed.checkpoints.save_replicas(4)  # It comes to no more.
    other = _Replicas(self.workdir, 1)
    other.train(4)
    other.save(4)
    self.assertEqual(self._files(), {"ckpt-4.index"})
    again = _Replicas(self.workdir)
    with self.assertWarnsRegex(UserWarning, "ckpt-4.*slow weights"):
      again.checkpoints.restore()
    slow = other.optimizer.slow_weights[0].numpy().item()
    self.assertEqual(again.weights(), [slow] * 2)


if __name__ == "__main__":
  tf.test.main()
