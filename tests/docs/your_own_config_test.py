"""The config file in docs/your_own_config.md, and the flags there, work."""

import os
import pathlib
import re

import tensorflow as tf

from tests.trainers import command_line
from trainers import trainer

_PAGE = (command_line.ROOT / "docs" / "your_own_config.md").read_text()


class YourOwnConfigTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    before = os.getcwd()
    self.addCleanup(os.chdir, before)
    os.chdir(self.get_temp_dir())  # Outside of the repository.

  def _parse(self, *arguments):
    values, _ = command_line.parse(
      ["--workdir=runs/mine", *arguments], trainer.define_flags
    )
    return values.config

  def test_the_file_works_from_another_folder(self):
    file = re.search(r"```python\n(.*?)```", _PAGE, re.DOTALL)[1]
    self.assertLen(file.splitlines(), 12)
    pathlib.Path("mine.py").write_text(file)
    config = self._parse("--config=mine.py", "--config.num_epochs=2")
    self.assertEqual(config.num_epochs, 2.0)
    self.assertEqual(config.data.image_size, 64)
    self.assertEqual(config.lookahead.sync_period, 5)
    self.assertEqual(
      config.optimizer.arguments.to_dict(), {"momentum": 0.9, "nesterov": True}
    )

  def test_the_flags(self):
    given = re.findall(r"--config\.[^` ]+=[^` ]+", _PAGE)
    self.assertGreater(len(given), 9)
    for flag in given:
      name = "translation" if "test_split" in flag else "image_folder"
      if not re.search("=(VALUE|None)$", flag) or "test_split" in flag:
        self._parse(
          f"--config={command_line.ROOT}/configs/{name}.py",
          flag.replace("'", ""),
        )


if __name__ == "__main__":
  tf.test.main()
