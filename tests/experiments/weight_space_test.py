import os
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from experiments import weight_space
from tests.experiments import programs
from tests.trainers import command_line
from trainers.errors import UserError


class PlaneTest(tf.test.TestCase):
  def test_goes_through_three_points(self):
    points = np.random.default_rng(0).normal(size=(3, 7))
    plane = weight_space.make_plane(*points)
    self.assertAllClose(plane.basis @ plane.basis.T, np.eye(2))
    coordinates, distances = plane.project(points)
    self.assertAllClose(distances, np.zeros(3), atol=1e-12)
    # The first is the origin, and the second on the x axis.
    self.assertAllClose(coordinates[0], [0, 0], atol=1e-12)
    length = np.linalg.norm(points[1] - points[0])
    self.assertAllClose(coordinates[1], [length, 0], atol=1e-12)
    for point, (x, y) in zip(points, coordinates):
      self.assertAllClose(plane.point(x, y), point)

  def test_a_point_beside_the_plane(self):
    plane = weight_space.make_plane(*np.eye(4)[:3])
    normal = np.ones(4) / 2
    normal[3] = -1.5
    self.assertAllClose(plane.basis @ normal, [0, 0], atol=1e-12)
    coordinates, distances = plane.project(
      (plane.point(2, 3) + 0.1 * normal)[np.newaxis]
    )
    self.assertAllClose(coordinates, [[2, 3]])
    self.assertAllClose(distances, [0.1 * np.sqrt(3)])

  def test_points_on_a_line(self):
    for third in ([0.0, 0.0], [2.0, 2.0]):
      with self.assertRaisesRegex(UserError, "on a line.*--learning_rate"):
        weight_space.make_plane(np.zeros(2), np.ones(2), np.array(third))


class WeightSpaceTest(
  command_line.Mistakes, tf.test.TestCase, parameterized.TestCase
):
  def _run(self, *arguments):
    self.workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])
    with mock.patch.object(weight_space, "_POINTS", 3):
      programs.run(
        weight_space.main,
        [f"--workdir={self.workdir}", *arguments],
        weight_space.define_flags,
      )

  def test_draws_a_period(self):
    self._run("--sync_period=3", "--slow_step_size=0.4", "--periods_before=1")
    with open(os.path.join(self.workdir, "results.md")) as file:
      text = file.read()
    rows = [
      [cell.strip() for cell in line.split("|")[1:-1]]
      for line in text.splitlines()
      if line.startswith(("| theta", "| phi"))
    ]
    self.assertEqual(
      [row[0] for row in rows],
      ["theta_0, phi before", "theta_1", "theta_2", "theta_3", "phi after"],
    )
    x, y, distance = np.array([row[1:4] for row in rows], "float64").T
    # The plane goes through theta_0, theta_1 and theta_3, and so does the step.
    self.assertAllClose(distance[[0, 1, 3, 4]], np.zeros(4), atol=1e-3)
    self.assertGreater(distance[2], 1e-3)
    self.assertAllClose(y[[0, 3, 4]], np.zeros(3), atol=1e-3)
    self.assertAllClose(x[4], 0.4 * x[3], atol=2e-3)
    self.assertIn("updates 4 to 6", text)
    self.assertTrue(
      os.path.exists(os.path.join(self.workdir, "weight_space_plane.png"))
    )

  @parameterized.parameters(
    (["--sync_period=1"], "--sync_period"),
    (["--slow_step_size=0"], "--slow_step_size"),
    (["--momentum=2"], "--momentum"),
    (["--learning_rate=x"], "Received: 'x'"),
    (["--learning_rate=0", "--periods_before=0"], "on a line"),
    (["--learning_rate=1e30"], "diverged"),
  )
  def test_a_mistake_ends_with_one_sentence(self, arguments, message):
    self.assertMistake(lambda: self._run(*arguments), message)
    self.assertNotIn("results.md", os.listdir(self.get_temp_dir()))


if __name__ == "__main__":
  tf.test.main()
