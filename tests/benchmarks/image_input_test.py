import glob
import os
import pathlib

import numpy as np
import tensorflow as tf
from PIL import Image

from benchmarks import image_input


class WritePhotosTest(tf.test.TestCase):
  def test_photos_of_imagenets_size(self):
    folder = os.path.join(self.get_temp_dir(), "photos")
    mean = image_input.write_photos(folder, 30, classes=3)
    files = glob.glob(os.path.join(folder, "*", "*.jpg"))
    self.assertLen(files, 30)
    self.assertLen(os.listdir(folder), 3)
    self.assertAllClose(mean, np.mean([os.path.getsize(f) for f in files]))
    self.assertBetween(mean, 90_000, 130_000)
    shapes = {Image.open(file).size for file in files}
    self.assertContainsSubset([(500, 375), (375, 500)], shapes)
    contents = {pathlib.Path(file).read_bytes() for file in files}
    self.assertLen(contents, 30)


if __name__ == "__main__":
  tf.test.main()
