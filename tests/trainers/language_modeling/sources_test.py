import gzip
import os
import sys
import tempfile
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from trainers.errors import UserError
from trainers.language_modeling import sources, vocabulary

_MIKOLOV = {
  "train": " a b <unk> \n c a \n",
  "validation": " a c \n",
  "test": " c b d \n",
}
_PATTERNS = (
  ("ptb.{}.txt", "valid"),
  ("wiki.{}.tokens", "valid"),
  ("{}.txt", "validation"),
  ("{}.txt", "valid"),
  ("{}.gz", "valid"),
)


def _data(name="text_files", **files):
  return sources.Data(name, {**dict.fromkeys(sources.SPLITS), **files})


class SourcesTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.directory = tempfile.mkdtemp(dir=self.get_temp_dir())

  def _write(self, contents, pattern="{}.txt", validation="valid"):
    for split, text in contents.items():
      name = validation if split == "validation" else split
      path = os.path.join(self.directory, pattern.format(name))
      data = text.encode()
      with open(path, "wb") as file:
        file.write(gzip.compress(data) if path.endswith("gz") else data)

  def assertMistake(self, words, data, data_dir=None):
    with self.assertRaises(UserError) as raised:
      sources.load(data, data_dir)
    for word in words:
      self.assertIn(word, str(raised.exception))

  @parameterized.parameters(*_PATTERNS)
  def test_files_by_their_usual_names(self, pattern, validation):
    self._write(_MIKOLOV, pattern, validation)
    # What Mikolov's directory has beside them.
    self._write(dict.fromkeys(_MIKOLOV, "x y"), "ptb.char.{}.txt")
    source = sources.load(_data(), self.directory)
    self.assertEqual([*source.train.read()], ["a b <unk>", "c a"])
    self.assertEqual([*source.validation.read()], ["a c"])
    self.assertEqual([*source.test.read()], ["c b d"])
    self.assertEqual((source.train.lines, source.train.words), (2, 5))

  def test_files_by_name(self):
    self._write(_MIKOLOV)
    self._write({"train": "e"}, "{}.tokens")
    self.assertMistake(
      ("train.txt and train.tokens", "data.train_file"),
      _data(),
      self.directory,
    )
    source = sources.load(_data(train="train.tokens"), self.directory)
    self.assertEqual([*source.train.read()], ["e"])
    path = os.path.join(self.directory, "train.txt")
    alone = sources.load(_data(train=path, validation=path), None)
    self.assertIsNone(alone.test)
    self.assertEqual([*alone.describe()], ["train", "validation"])

  def test_wikitext_has_empty_lines(self):
    self._write({"train": " \n = T = \n \n a b \n", "validation": "a\n"})
    train = sources.load(_data(), self.directory).train
    self.assertEqual([*train.read()], ["", "= T =", "", "a b"])
    words = vocabulary.Vocabulary.of(train)
    self.assertEqual(words.words, ("<eos>", "=", "T", "a", "b"))
    self.assertAllEqual(words.encode(train), [0, 1, 2, 1, 0, 0, 3, 4, 0])

  def test_a_description_tells_texts_apart(self):
    self._write(_MIKOLOV)
    before = sources.load(_data(), self.directory).describe()
    self._write({"test": "c b e\n"})
    after = sources.load(_data(), self.directory).describe()
    self.assertEqual(before["train"], after["train"])
    self.assertEqual(
      [
        {k: v for k, v in d["test"].items() if k != "fingerprint"}
        for d in (before, after)
      ],
      [{"lines": 1, "words": 3}] * 2,
    )
    self.assertNotEqual(before["test"], after["test"])

  def test_mistakes(self):
    self.assertMistake(("'wikitext'", "pydoc"), _data("wikitext"))
    self.assertMistake(("--data_dir",), _data())
    self.assertMistake(("nowhere",), _data(), "nowhere")
    self.assertMistake(
      ("train split", "ptb.train.txt"), _data(), self.directory
    )
    self._write({"train": "a\n"})
    self.assertMistake(
      ("validation split", "data.validation_file"), _data(), self.directory
    )
    self._write({"validation": " \n\n"})
    self.assertMistake(("valid.txt has no words",), _data(), self.directory)
    self.assertMistake(
      ("none.txt is not a file",),
      _data(test="none.txt", validation="train.txt"),
      self.directory,
    )
    self.assertMistake(("pydoc", "--data_dir=d"), _data("pydoc"), "d")
    self.assertMistake(("data.test_file=t",), _data("pydoc", test="t"))

  def test_made_up_text_has_all_its_words(self):
    source = sources.made_up(50)
    words = vocabulary.Vocabulary.of(source.train)
    self.assertEqual(words.size, 50)
    for split in (source.validation, source.test):
      self.assertGreater(len(words.encode(split)), 20_000)

  def test_the_embedded_text(self):
    source = sources.load(_data("pydoc"), None)
    words = vocabulary.Vocabulary.of(source.train)
    self.assertIn("<unk>", words.words)
    for split in (source.train, source.validation, source.test):
      numbers = words.encode(split)
      self.assertLen(numbers, split.words + split.lines)
      self.assertEqual(np.sum(numbers == 0), split.lines)
    with mock.patch.dict(sys.modules, {"pydoc_data.topics": None}):
      self.assertMistake(("pydoc", "text_files"), _data("pydoc"))


class VocabularyTest(parameterized.TestCase):
  def _split(self, *lines):
    words = sum(len(line.split()) for line in lines)
    return sources.Split(
      "valid.txt", len(lines), words, "", lambda: iter(lines)
    )

  def test_words_of_other_splits_are_unknown(self):
    words = vocabulary.Vocabulary.of(self._split("a <unk>", "b a"))
    self.assertEqual(words.words, ("<eos>", "a", "<unk>", "b"))
    self.assertEqual(words.size, 4)
    numbers = words.encode(self._split("b new a", "other"))
    self.assertEqual(numbers.tolist(), [3, 2, 1, 0, 2, 0])
    self.assertEqual(numbers.dtype, np.int32)
    self.assertEqual(words.encode_words(["a", "x"]), [1, 2])

  def test_without_unknown_they_are_a_mistake(self):
    words = vocabulary.Vocabulary.of(self._split("a b"))
    with self.assertRaisesRegex(
      UserError, r"valid.txt: 3 of its 4 words .*\(2 different.*'c'.*<unk>"
    ):
      words.encode(self._split("a c d c"))

  def test_descriptions(self):
    one = vocabulary.Vocabulary(["<eos>", "a", "b"])
    other = vocabulary.Vocabulary(["<eos>", "b", "a"])
    self.assertEqual(one.describe()["size"], 3)
    self.assertNotEqual(one.describe(), other.describe())

  @parameterized.parameters((["a", "<eos>"],), (["<eos>", "a", "a"],), ([],))
  def test_what_is_no_vocabulary(self, words):
    with self.assertRaisesRegex(UserError, "<eos>"):
      vocabulary.Vocabulary(words)


if __name__ == "__main__":
  tf.test.main()
