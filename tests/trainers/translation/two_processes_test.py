"""Two processes of the translation trainer give what one does."""

import json
import os

import tensorflow as tf

from tests import processes
from tests.trainers import trainer_process
from tests.trainers.translation import small_run
from trainers import metrics


class TwoProcessesTest(tf.test.TestCase):
  def _start(self, data_dir, workdir, **environment):
    fields = small_run.fields() | small_run.WITHOUT_DROPOUT
    return trainer_process.start_program(
      "trainers.translation",
      "--config=configs/phrases.py:lookahead",
      f"--data_dir={data_dir}",
      f"--workdir={workdir}",
      *(f"--config.{name}={value}" for name, value in fields.items()),
      **environment,
    )

  def _results(self, workdir):
    with open(os.path.join(workdir, "results.json")) as file:
      results = json.load(file)
    with open(os.path.join(workdir, "test.translations")) as file:
      return results, file.read(), metrics.read(workdir)

  def test_metrics_translations_and_scores(self):
    root = os.path.join(self.get_temp_dir(), self.id())
    data_dir = os.path.join(root, "text")
    small_run.write_text(data_dir)
    one, two = (os.path.join(root, name) for name in ("one", "two"))
    running = [self._start(data_dir, one)]
    running += [
      self._start(data_dir, two, TF_CONFIG=text)
      for text in processes.tf_configs(2)
    ]
    for process in running:
      status, text = process.wait()
      self.assertEqual(status, 0, text)
    results, translations, lines = self._results(two)
    expected_results, expected_translations, expected_lines = self._results(one)
    self.assertEqual(results, expected_results)
    self.assertEqual(translations, expected_translations)
    self.assertLen(lines, len(expected_lines))
    for line, expected in zip(lines, expected_lines):
      for name, value in expected.items():
        if "per_second" not in name:
          self.assertAllClose(line[name], value, rtol=1e-3, atol=1e-3)


if __name__ == "__main__":
  tf.test.main()
