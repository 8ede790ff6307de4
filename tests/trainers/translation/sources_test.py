import gzip
import os
import tempfile
from unittest import mock

import tensorflow as tf
import tensorflow_datasets as tfds
from absl.testing import parameterized

from configs import translation
from tests.trainers.written_files import WrittenFiles
from trainers.errors import UserError
from trainers.translation import experiment, sources

_SIDES = ("source", "target")
_PAIRS = [("A man.", "Ein Mann."), ("Two dogs", "Zwei Hunde"), ("", "Öl ")]


def _data(**fields):
  data = translation.get_config().data
  data.update(fields)
  return experiment.read_data(data)


class SourcesTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.directory = tempfile.mkdtemp(dir=self.get_temp_dir())

  def assertMistake(self, message, data_dir=None, **fields):
    with self.assertRaisesRegex(UserError, message):
      sources.load(_data(**fields), data_dir)

  def _write(self, name, lines):
    path = os.path.join(self.directory, name)
    content = "".join(f"{line}\n" for line in lines).encode()
    with open(path, "wb") as file:
      file.write(gzip.compress(content) if name.endswith(".gz") else content)
    return path

  def _write_tfds(
    self,
    name,
    pairs,
    splits=("train", "validation", "test"),
    file_format="tfrecord",
  ):
    """Writes a data set in the format of TFDS, as wmt14_translate has it."""
    english, german = zip(*pairs)
    tfds.dataset_builders.store_as_tfds_dataset(
      name=name,
      version="1.0.0",
      config="de-en",
      features=tfds.features.Translation(languages=("de", "en")),
      split_datasets={
        split: tf.data.Dataset.from_tensor_slices(
          {"de": list(german), "en": list(english)}
        )
        for split in splits
      },
      data_dir=self.directory,
      file_format=file_format,
    )

  def test_cldr_both_ways(self):
    there = sources.load(_data(), None)
    back = sources.load(_data(source_language="de", target_language="en"), None)
    self.assertEqual(
      [(s.name, s.size) for s in (there.train, there.validation, there.test)],
      [("train", 30_000), ("validation", 1_000), ("test", 1_000)],
    )
    pairs = list(there.test.read())
    self.assertEqual([p[::-1] for p in pairs], list(back.test.read()))
    self.assertEqual([*zip(*there.test.columns())], pairs)
    self.assertNotEqual(there.test.fingerprint, back.test.fingerprint)
    self.assertEqual(there.describe(), sources.load(_data(), None).describe())
    self.assertMistake("Received: .*'fr'", source_language="fr")

  def test_text_files(self):
    for split, suffix in (("train", ".gz"), ("val", "")):
      self._write(f"{split}.en{suffix}", [s for s, _ in _PAIRS])
      self._write(f"{split}.de{suffix}", [t for _, t in _PAIRS])
    fields = {
      "name": "text_files",
      "train_source": "train.en.gz",
      "train_target": "train.de.gz",
      "validation_source": "val.en",
      "validation_target": os.path.join(self.directory, "val.de"),
    }
    source = sources.load(_data(**fields), self.directory)
    stripped = [(s, t.strip()) for s, t in _PAIRS]
    for split in (source.train, source.validation):
      self.assertEqual(split.size, 3)
      self.assertEqual(list(split.read()), stripped)
      self.assertEqual(list(split.read()), stripped)  # As often as wanted.
    self.assertIsNone(source.test)
    self.assertEqual(source.train.fingerprint, source.validation.fingerprint)
    self._write("test.en", ["One", "Two"])
    path = self._write("test.de", ["Eins"])
    fields |= {"test_source": "test.en", "test_target": path}
    self.assertMistake("2 and 1 lines", self.directory, **fields)
    self._write("test.de", ["Eins", "Zwei"])
    source = sources.load(_data(**fields), self.directory)
    self.assertEqual(source.test.columns(), (["One", "Two"], ["Eins", "Zwei"]))
    self.assertCountEqual(source.describe(), ["train", "validation", "test"])

  def test_a_part_of_two_text_files_is_held_out(self):
    pairs = [(f"One {i}", f"Eins {i}") for i in range(500)]
    pairs += [(s, f"Noch {t}") for s, t in pairs[:100]]
    fields = {
      "train_source": self._write("a.en", [s for s, _ in pairs]),
      "train_target": self._write("a.de", [t for _, t in pairs]),
      "validation_fraction": 0.2,
    }
    source = sources.load(_data(**fields), None)
    train, validation = list(source.train.read()), [*source.validation.read()]
    self.assertCountEqual(train + validation, pairs)
    self.assertEqual(source.train.size, len(train))
    self.assertEqual(source.validation.size, len(validation))
    self.assertBetween(len(validation), 90, 150)
    self.assertEmpty({s for s, _ in train} & {s for s, _ in validation})
    self.assertEqual(list(source.train.read()), train)  # As often as wanted.
    again = sources.load(_data(**fields), None)
    self.assertEqual(again.describe(), source.describe())
    # Other pairs move no pair from one side to the other.
    self._write("a.en", [s for s, _ in pairs[50:]])
    self._write("a.de", [t for _, t in pairs[50:]])
    fewer = sources.load(_data(**fields), None)
    self.assertContainsSubset(list(fewer.train.read()), train)
    self.assertContainsSubset(list(fewer.validation.read()), validation)
    other = sources.load(_data(**fields, split_seed=1), None)
    self.assertNotEqual(list(other.validation.read()), validation)
    files = {f"validation_{side}": fields[f"train_{side}"] for side in _SIDES}
    own = sources.load(_data(**fields, **files), None)
    self.assertEqual((own.train.size, own.validation.size), (550, 550))

  def test_parts_that_cannot_be_held_out(self):
    path = self._write("a.en", ["One"])
    files = {"train_source": path, "train_target": path}
    for fraction in (1e-6, 1 - 1e-6):
      self.assertMistake(
        f"data.validation_fraction={fraction} leaves none of the 1 pairs",
        **files,
        validation_fraction=fraction,
      )
    self.assertMistake("validation_fraction=0.1", **files)
    self.assertMistake(
      "data.validation_fraction=0.2 .*'cldr'", validation_fraction=0.2
    )

  @parameterized.parameters(
    ([""] * 40, "all 40 lines of .*a.en are blank: data.train_source must"),
    ([" "] * 40, "all 40 lines of .*a.en are blank: data.train_source must"),
    (["One"] * 40, "all 40 lines of .*a.en are the same, 'One': "),
    (["One", "Two"] * 20, "one split, and there are 2 different source sent"),
  )
  def test_source_sentences_that_do_not_differ(self, lines, message):
    self.assertMistake(
      f"data.validation_fraction=0.01 .*{message}",
      train_source=self._write("a.en", lines),
      train_target=self._write("a.de", [f"Eins {i}" for i in range(40)]),
      validation_fraction=0.01,
    )

  def test_text_files_whose_names_are_patterns(self):
    root = os.path.join(self.directory, "data[12]")
    for directory, text in ((root, "own"), (f"{root[:-4]}1", "other")):
      os.makedirs(directory)
      for name in ("a*", "ab"):
        with open(os.path.join(directory, name), "w") as file:
          file.write(f"{text} {name}\n")
    names = {
      f"{split}_{side}": "a*"
      for split in ("train", "validation")
      for side in ("source", "target")
    }
    source = sources.load(_data(**names), root)
    self.assertEqual(list(source.train.read()), [("own a*", "own a*")])

  def test_text_files_in_the_home_directory(self):
    for name in ("a.en", "a.de"):
      self._write(name, [name])
    names = {
      f"{split}_{side}": f"~/a.{language}"
      for split in ("train", "validation")
      for side, language in (("source", "en"), ("target", "de"))
    }
    with mock.patch.dict(os.environ, HOME=self.directory):
      for data_dir in (None, "elsewhere"):
        source = sources.load(_data(**names), data_dir)
        self.assertEqual(list(source.train.read()), [("a.en", "a.de")])

  def test_text_files_that_are_not_named(self):
    path = self._write("train.en", ["a"])
    files = {"name": "text_files", "train_source": path, "train_target": path}
    self.assertMistake("--config.data.train_source=FILE", name="text_files")
    self.assertMistake("data.validation_source", **files)
    files |= {"validation_source": path, "validation_target": path}
    self.assertMistake("data.test_target", **files, test_source=path)

  def test_files_are_meant_whatever_the_name_is(self):
    path = self._write("train.en", ["a", "b"])
    files = {
      f"{name}_{side}": path
      for name in ("train", "validation")
      for side in ("source", "target")
    }
    for name in ("cldr", "wmt14_translate/de-en"):
      source = sources.load(_data(name=name, test_split="test", **files), None)
      self.assertEqual((source.train.size, source.test), (2, None))
      self.assertMistake("data.train_target", name=name, train_source=path)

  @parameterized.parameters("tfrecord", "array_record", "parquet")
  def test_tfds(self, file_format):
    self._write_tfds("tiny_translate", _PAIRS, file_format=file_format)
    fields = {"name": "tiny_translate/de-en", "test_split": "test"}
    source = sources.load(_data(**fields), self.directory)
    for split in (source.train, source.validation, source.test):
      self.assertEqual(split.size, 3)
      stripped = [(s, t.strip()) for s, t in _PAIRS]
      self.assertCountEqual(split.read(), stripped)  # TFDS shuffles on disk.
      self.assertEqual(list(split.read()), list(split.read()))
    fields |= {"source_language": "de", "target_language": "en"}
    back = sources.load(_data(**fields), self.directory)
    self.assertEqual(
      list(back.test.read()), [pair[::-1] for pair in source.test.read()]
    )
    self.assertNotEqual(source.train.fingerprint, back.train.fingerprint)
    part = sources.load(
      _data(**fields, train_split="train[:2]"), self.directory
    )
    self.assertEqual((part.train.size, len(list(part.train.read()))), (2, 2))
    self.assertNotEqual(part.train.fingerprint, back.train.fingerprint)

  def test_tfds_without_a_test_split(self):
    self._write_tfds("no_test", _PAIRS, splits=("train", "validation"))
    name = "no_test/de-en"
    self.assertIsNone(sources.load(_data(name=name), self.directory).test)
    self.assertMistake(
      "data.test_split='test' is not a split of no_test",
      self.directory,
      name=name,
      test_split="test",
    )

  def test_damaged_array_records(self):
    pairs = [(f"{i} men.", f"{i} Männer.") for i in range(5000)]
    self._write_tfds("damaged", pairs, ("train", "validation"), "array_record")
    data = _data(name="damaged/de-en")
    source = sources.load(data, self.directory)
    self.assertCountEqual(source.train.read(), pairs)
    directory = os.path.join(self.directory, "damaged", "de-en", "1.0.0")
    (name,) = (n for n in os.listdir(directory) if "-train." in n)
    os.truncate(os.path.join(directory, name), 100)
    with self.assertRaisesRegex(
      UserError, r"^damaged/de-en/1.0.0 cannot be read: [^\n]+$"
    ):
      sources.load(data, self.directory)

  def test_tfds_told_by_its_text(self):
    prints = set()
    for text in ("A man.", "A cat."):
      self._write_tfds("told", [(text, "Ein Mann."), *_PAIRS])
      source = sources.load(_data(name="told/de-en"), self.directory)
      prints.add(source.train.fingerprint)
      tf.io.gfile.rmtree(os.path.join(self.directory, "told"))
    self.assertLen(prints, 2)

  def test_tfds_mistakes(self):
    self._write_tfds("tiny_translate", _PAIRS)
    name = "tiny_translate/de-en"
    self.assertMistake(
      "data.source_language='fr' is none of the languages of tiny_translate",
      self.directory,
      name=name,
      source_language="fr",
    )
    self.assertMistake(
      r"data.train_split='train\[:0\]' of tiny_translate has no examples",
      self.directory,
      name=name,
      train_split="train[:0]",
    )
    self.assertMistake(
      "both 'de'", self.directory, name=name, source_language="de"
    )
    self.assertMistake(
      "'cldr', 'text_files' or a TFDS data set", name="wmt14_tranlsate"
    )
    self.assertMistake(
      "Prepare it .*: tfds build wmt14_translate/de-en",
      self.directory,
      name="wmt14_translate/de-en",
    )
    self.assertMistake(
      "is not a directory",
      os.path.join(self.directory, "nowhere"),
      name="wmt14_translate/de-en",
    )


class TextFilesTest(WrittenFiles, tf.test.TestCase):
  def test_check_counts_and_tells_texts_apart(self):
    one = self.write("one", b"a\nb\n")
    two = self.write("two", b"c\nd\n")
    contents = sources.check_aligned(one, two)
    self.assertEqual(contents.size, 2)
    same = sources.check_aligned(
      self.write("x", gzip.compress(b"a\nb\n")), self.write("y", b"c\r\nd")
    )
    self.assertEqual(contents, same)
    for other in (b"c\ne\n", b"cd\n\n"):
      changed = sources.check_aligned(one, self.write("z", other))
      self.assertNotEqual(contents.fingerprint, changed.fingerprint)

  def test_misaligned(self):
    one = self.write("one.en", b"a\n" * 1000)
    two = self.write("two.de", b"b\n" * 1001)
    self.assertMistake(
      lambda: sources.check_aligned(one, two),
      "one.en and ",
      "two.de are not aligned",
      "1,000 and 1,001 lines",
    )

  def test_missing_and_empty(self):
    text = self.write("text", b"a\n")
    nowhere = os.path.join(self.get_temp_dir(), "nowhere.en")
    self.assertMistake(
      lambda: sources.check_aligned(nowhere, text), "nowhere.en is not a file"
    )
    self.assertMistake(
      lambda: sources.check_aligned(text, self.get_temp_dir()), "is not a file"
    )
    self.assertMistake(
      lambda: sources.check_aligned(text, self.write("no", b"")), "no is empty"
    )


if __name__ == "__main__":
  tf.test.main()
