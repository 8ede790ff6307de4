import os
from unittest import mock

import numpy as np
import tensorflow as tf

from experiments import style
from trainers import files
from trainers.errors import UserError


class ColorsTest(tf.test.TestCase):
  def test_an_optimizer_has_its_colour_beside_any_others(self):
    for other in (*list(style.OPTIMIZERS)[1:], "k = 5"):
      for sgd in ("SGD", "SGD, learning rate 0.1"):
        for names in ((sgd, other), (other, sgd)):
          found = style.colors(names)
          self.assertEqual(list(found), list(names))
          self.assertEqual(found[sgd], style.OPTIMIZERS["SGD"])

  def test_names_have_different_colours(self):
    names = ["a", "SGD", "SGD, learning rate 1", "Lookahead (SGD)", "b"]
    self.assertLen(set(style.colors(names).values()), len(names))
    many = style.colors(f"{i}" for i in range(20))
    self.assertEqual(set(many.values()), set(style.PALETTE))


class HeatMapsTest(tf.test.TestCase):
  def _draw(self, maps, **options):
    figure, axes = style.panels(columns=len(maps))
    axis = ("k", ["5", "10"])
    style.draw_heat_maps(axes[0], maps, axis, axis, "loss", **options)
    *panels, bar = figure.axes
    return panels, bar

  def test_one_scale_for_all(self):
    panels, bar = self._draw(
      {"a": [[1.0, 2.0], [3.0, np.nan]], "b": [[4.0, 5.0], [6.0, 9.0]]}
    )
    scales = {axis.get_images()[0].get_clim() for axis in panels}
    self.assertEqual(scales, {(1.0, 9.0)})
    self.assertEqual(bar.get_ylabel(), "loss")
    self.assertEqual([axis.get_title() for axis in panels], ["a", "b"])
    texts = [text.get_text() for text in panels[0].texts]
    self.assertEqual(texts, ["1.0", "2.0", "3.0", "diverged"])
    # The first row is at the bottom.
    self.assertLess(*panels[0].get_ylim())

  def test_nothing_finite_and_nothing_different(self):
    for value in (np.nan, 3.0):
      panels, _ = self._draw({"a": np.full((2, 2), value)})
      self.assertLen(panels[0].texts, 4)

  def test_limits(self):
    panels, _ = self._draw({"a": [[0, 1], [2, 3]]}, limits=(1, 2), text="")
    self.assertEqual(panels[0].get_images()[0].get_clim(), (1, 2))
    self.assertEmpty(panels[0].texts)


class SaveTest(tf.test.TestCase):
  def test_whole_or_not_at_all(self):
    path = os.path.join(self.get_temp_dir(), "figure.png")

    def save():
      figure, [[axis]] = style.panels(width=4.0, height=3.0)
      axis.plot([1, 2], [1, 2])
      style.save(figure, path)
      self.assertFalse(style.plt.fignum_exists(figure.number))

    save()
    with open(path, "rb") as file:
      before = file.read()
    self.assertEqual(tf.io.decode_png(before).shape, (360, 480, 4))
    full = tf.errors.ResourceExhaustedError(None, None, "No space left")
    with (
      mock.patch.object(files.tf.io.gfile, "rename", side_effect=full),
      self.assertRaisesRegex(UserError, f"{path} cannot be written: No space"),
    ):
      save()
    with open(path, "rb") as file:
      self.assertEqual(file.read(), before)
    self.assertEqual(os.listdir(self.get_temp_dir()), ["figure.png"])

  def test_one_legend_for_all_panels(self):
    figure, [axes] = style.panels(columns=2)
    for axis in axes:
      axis.plot([1, 2], label="SGD")
    axes[1].plot([1, 2], label="Adam")
    style.add_legend(figure)
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    self.assertEqual(labels, ["SGD", "Adam"])


if __name__ == "__main__":
  tf.test.main()
