"""The tables on top of the config files tell of experiments that there are."""

import glob
import os
import re

from absl.testing import absltest, parameterized

from tests.configs import experiments

_SUBJECTS = (
  *experiments.IMAGES,
  *experiments.LANGUAGE_MODELS,
  *experiments.TRANSLATIONS,
)
_PARTS = (
  "image_classification",
  "language_modeling",
  "lookahead",
  "translation",
  "words",
)
_CIFAR = {
  "cifar10,sgd": "95.23 +- .19 %",
  "cifar10,polyak": "95.26 +- .04 %",
  "cifar10,adamw": "94.84 +- .16 %",
  "cifar10,lookahead": "95.27 +- .06 %",
  "cifar100,sgd": "78.24 +- .18 %",
  "cifar100,polyak": "77.99 +- .42 %",
  "cifar100,adamw": "76.88 +- .39 %",
  "cifar100,lookahead": "78.34 +- .05 %",
}
_IMAGENET = {
  "resnet50,aggressive,sgd": "74.43 %, 75.15 %",
  "resnet50,aggressive,lookahead": "75.13 %, 75.49 %",
}
_WMT14 = {
  "base,adam": "about 2.60, about 1.72",
  "base,adafactor": "about 2.38, about 1.78",
  "base,lookahead": "about 2.22, about 1.77",
}
_PTB = {
  "large,adam,lookahead": "the best of these",
  "large,adam": "the second",
  "large,sgd": "the last",
}
# Experiments in one file each, before the words were.
_EXPERIMENTS = {
  "cifar": {
    *_CIFAR,
    *(
      f"speedrun,{word}"
      for word in ("lookahead", "sgd", "own_statistics", "slow_momentum")
    ),
  },
  "digits": {"sgd", "lookahead"},
  "image_folder": {"sgd", "lookahead", "adamw", "adamw,lookahead"},
  "imagenet": {
    f"{model},{optimizer}{tpu}"
    for model in ("resnet50", "resnet50,aggressive", "resnet152")
    for optimizer in ("sgd", "lookahead")
    for tpu in ("", ",tpu")
  },
  "multi30k": {"adam", "lookahead", "no_warmup,adam", "no_warmup,lookahead"},
  "phrases": {"adam", "lookahead"},
  "text_files": {"adam", "lookahead"},
  "ptb": {
    *_PTB,
    "large,sgd,lookahead",
    "large,nt_asgd",
    "small,adam,lookahead",
  },
  "pydoc": {"adam", "adam,lookahead", "sgd", "sgd,lookahead", "nt_asgd"},
  "wikitext2": {"middle,adam", "middle,adam,lookahead", "large,sgd"},
  "wmt14": {*_WMT14, "base,no_warmup,lookahead", "big,adam", "big,lookahead"},
}


class TablesTest(parameterized.TestCase):
  def test_every_file_is_a_subject_or_a_part(self):
    names = {
      os.path.splitext(os.path.basename(path))[0]
      for path in glob.glob(os.path.join(experiments.DIRECTORY, "*.py"))
    }
    self.assertEqual(names, {"__init__", *_SUBJECTS, *_PARTS})

  @parameterized.parameters(*_SUBJECTS)
  def test_rows_are_different_experiments(self, name):
    words = experiments.module(name).WORDS
    rows = [words.choose(row["words"]) for row in experiments.table(name)]
    self.assertLen({*rows}, len(rows))
    self.assertIn(words.choose(""), rows)
    self.assertTrue(all(row["here"] for row in experiments.table(name)))
    for text in _EXPERIMENTS.get(name, ()):
      self.assertIn(words.choose(text), rows)

  @parameterized.parameters(*_SUBJECTS)
  def test_each_row_says_its_learning_rate(self, name):
    for row in experiments.table(name):
      config = experiments.get(name, row["words"])
      self.assertBetween(
        float(row["rate"]) / config.learning_rate.peak, 0.995, 1.005, row
      )

  @parameterized.parameters(*experiments.all_of(*_SUBJECTS))
  def test_order_and_defaults(self, name, text):
    words = text.split(",")
    config = experiments.get(name, text)
    backwards = experiments.get(name, " , ".join(reversed(words)))
    self.assertEqual(backwards.to_dict(), config.to_dict())
    defaults = {one[0] for one in experiments.module(name).WORDS.one_of}
    others = ",".join(word for word in words if word not in defaults)
    if text != "adamw,lookahead":  # There lookahead is not by default.
      self.assertEqual(
        experiments.get(name, others).to_dict(), config.to_dict()
      )

  @parameterized.parameters(*_SUBJECTS)
  def test_each_combination_is_another_config(self, name):
    configs = [
      experiments.get(*case).to_json_best_effort()
      for case in experiments.all_of(name)
    ]
    self.assertLen({*configs}, len(configs))
    self.assertEqual(
      experiments.module(name).get_config().to_dict(),
      experiments.get(name, "").to_dict(),
    )

  @parameterized.parameters(*_SUBJECTS)
  def test_the_page_has_the_command_and_all_words(self, name):
    page = experiments.module(name).__doc__
    self.assertIn(f"--config=configs/{name}.py:WORDS", page)
    menu, _, _ = page.partition("words  ")
    for text in experiments.combinations(experiments.module(name).WORDS):
      for word in text.split(","):
        self.assertRegex(menu, rf"\b{word}\b")
    if name not in ("digits", "phrases", "pydoc"):
      self.assertIn("--data_dir=", page)

  def test_the_command_for_a_tpu(self):
    self.assertIn(
      "--strategy=tpu --tpu=local --precision=bfloat16",
      experiments.module("imagenet").__doc__,
    )

  @parameterized.parameters(
    ("cifar", "5.1", _CIFAR),
    ("imagenet", "5.2", _IMAGENET),
    ("ptb", "5.3", _PTB),
    ("wmt14", "5.4", _WMT14),
  )
  def test_the_papers_sections_and_figures(self, name, section, figures):
    page = experiments.module(name).__doc__
    self.assertIn(f"the paper's section {section}", page)
    words = experiments.module(name).WORDS
    rows = {words.choose(row["words"]): row for row in experiments.table(name)}
    for text, expected in figures.items():
      row = rows[words.choose(text)]
      self.assertEqual(row["expected"], expected)
      self.assertEqual(row["section"], section)


class LearningRatesTest(absltest.TestCase):
  def test_image_folder_has_the_best_rates_of_the_page(self):
    page = os.path.join(
      experiments.DIRECTORY, "..", "docs", "learning_rates.md"
    )
    with open(page) as file:
      _, _, section = file.read().partition("\n## What was measured\n")
    section, _, _ = section.partition("\n## ")
    rows = re.findall(
      r"^\| image_folder_(\S+) +\| (\S+) +\| 3 +\| (\S+) ", section, re.M
    )
    self.assertLen(rows, 20)
    best = {}
    for words, rate, accuracy in rows:
      best[words] = max(best.get(words, (0, 0)), (float(accuracy), float(rate)))
    here = {
      row["words"].replace(",", "_"): row["here"]
      for row in experiments.table("image_folder")
    }
    for words, (accuracy, rate) in best.items():
      config = experiments.get("image_folder", words.replace("_", ","))
      self.assertEqual(config.learning_rate.peak, rate)
      self.assertIn(f"{accuracy:.2f} +-", here[words])


if __name__ == "__main__":
  absltest.main()
