import os
import tempfile

import keras
import sentencepiece
import tensorflow as tf
from absl.testing import parameterized

from tests.trainers.translation import small_text
from trainers.errors import UserError
from trainers.translation import vocabulary


def _train(directory, split=None, **fields):
  return vocabulary.load_or_train(
    split or small_text.make_split(), small_text.recipe(**fields), directory
  )


class VocabularyTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.directory = tempfile.mkdtemp(dir=self.get_temp_dir())

  @parameterized.product(kind=["unigram", "bpe"], byte_fallback=[False, True])
  def test_tokens_are_those_of_sentencepiece(self, kind, byte_fallback):
    size = 60 + 256 * byte_fallback
    words = _train(
      self.directory, kind=kind, size=size, byte_fallback=byte_fallback
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=words.model)
    self.assertEqual(words.size, size)
    self.assertEqual(processor.vocab_size(), size)
    self.assertEqual(
      (processor.pad_id(), processor.eos_id(), processor.unk_id()), (0, 1, 2)
    )
    self.assertEqual(processor.bos_id(), -1)
    texts = [text for pair in small_text.make_split().read() for text in pair]
    tokens = words.tokenize(tf.constant(texts))
    self.assertEqual(tokens.dtype, tf.int32)
    self.assertEqual(
      tokens.to_list(), [[*ids, 1] for ids in processor.encode(texts)]
    )
    for padded in (tokens.to_tensor(0), tokens.to_tensor(5)):
      back = [t.decode() for t in words.detokenize(padded).numpy()]
      self.assertEqual(back, texts)

  @parameterized.parameters(2, 3, 5, 100)
  def test_tokens_up_to_a_number(self, most):
    words = small_text.make_vocabulary()
    texts = ["The old king sees a man", "king", "", "old"]
    expected = [
      ids if len(ids) <= most else [*ids[: most - 1], 1]
      for ids in words.tokenize(texts).to_list()
    ]
    for tokenize in (words.tokenize_up_to, tf.function(words.tokenize_up_to)):
      tokens, lengths = tokenize(tf.constant(texts), most)
      self.assertEqual(tokens.dtype, tf.int32)
      self.assertEqual(tokens.to_list(), expected)
      self.assertAllEqual(lengths, words.tokenize(texts).row_lengths())

  def test_detokenize_stops_at_the_first_end(self):
    words = small_text.make_vocabulary()
    king, old = (t[:-1] for t in words.tokenize(["king", "old"]).to_list())
    rows = [[*king, 1, *old, 1], [1, *old], [*old, 1, 1, 0, 0], [0, *old, 0]]
    padded = tf.ragged.constant(rows, dtype=tf.int32).to_tensor(0)
    self.assertAllEqual(
      words.detokenize(padded), [b"king", b"", b"old", b"old"]
    )

  def test_unknown_characters_survive_as_bytes(self):
    words = small_text.make_vocabulary(size=316, byte_fallback=True)
    texts = ["Žižek 猫 sees 3 🐦!"]
    tokens = words.tokenize(tf.constant(texts)).to_tensor(0)
    self.assertNotIn(vocabulary.UNK, tokens.numpy())
    self.assertAllEqual(words.detokenize(tokens), [texts[0].encode()])

  def test_a_translation_is_one_line(self):
    words = small_text.make_vocabulary(size=316, byte_fallback=True)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=words.model)
    king = pieces.encode("king")
    ends = [pieces.piece_to_id(piece) for piece in ("<0x0D>", "<0x0A>")]
    text = words.detokenize(tf.constant([[*king, *ends, *king, 1]]))
    self.assertEqual(text.numpy()[0].split(), [b"king", b"king"])
    self.assertEqual(text.numpy()[0].count(b"\n"), 0)

  def test_digits_are_split_or_not(self):
    pairs = [(f"In {year}", f"Im Jahr {year}") for year in (1984, 2001) * 9]
    split = small_text.make_split(pairs, fingerprint="years")
    for split_digits in (True, False):
      words = _train(
        self.directory, split, kind="bpe", size=25, split_digits=split_digits
      )
      (tokens,) = words.tokenize(["In 1984"]).to_list()
      processor = sentencepiece.SentencePieceProcessor(model_proto=words.model)
      pieces = processor.id_to_piece(tokens)
      self.assertEqual({"1", "9", "8", "4"} < {*pieces}, split_digits, pieces)

  def test_white_space_is_normalized(self):
    words = small_text.make_vocabulary()
    self.assertEqual(
      words.tokenize([" The\told\u00a0 man\u3000"]).to_list(),
      words.tokenize(["The old man"]).to_list(),
    )

  def test_works_in_a_graph(self):
    words = small_text.make_vocabulary()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def there_and_back(texts):
      return words.detokenize(words.tokenize(texts).to_tensor(0))

    texts = [b"Der alte Mann", b"", b"sieht"]
    self.assertAllEqual(there_and_back(tf.constant(texts)), texts)

  def test_survives_that_a_seed_is_set(self):
    words = small_text.make_vocabulary()
    before = words.tokenize(["The king"]).to_tensor(0)
    keras.utils.set_random_seed(1)
    self.assertAllEqual(words.tokenize(["The king"]).to_tensor(0), before)
    keras.utils.set_random_seed(2)
    self.assertAllEqual(words.detokenize(before), [b"The king"])
    keras.utils.set_random_seed(3)
    in_graph = tf.function(lambda text: words.tokenize(text).to_tensor(0))
    self.assertAllEqual(in_graph(tf.constant(["The king"])), before)

  def test_trained_once_for_a_text_and_settings(self):
    reads = []

    def split(fingerprint):
      plain = small_text.make_split(fingerprint=fingerprint)

      def read():
        reads.append(fingerprint)
        return plain.read()

      return small_text.Split("train", plain.size, fingerprint, read)

    first = _train(self.directory, split("a"))
    again = _train(self.directory, split("a"))
    self.assertEqual(reads, ["a"])
    self.assertEqual(first.describe(), again.describe())
    _train(self.directory, split("b"))
    _train(self.directory, split("a"), kind="bpe")
    _train(self.directory, split("a"), kind="bpe")
    self.assertEqual(reads, ["a", "b", "a"])
    files = os.listdir(os.path.join(self.directory, "vocabulary"))
    self.assertLen(files, 3)
    for file in files:
      self.assertEndsWith(file, ".model")

  def test_a_directory_that_is_not_on_a_disk(self):
    words = _train("ram://vocabulary_test")
    unreadable = small_text.Split("train", 1, "small", lambda: 1 / 0)
    again = _train("ram://vocabulary_test", unreadable)
    self.assertEqual(again.describe(), words.describe())

  def test_the_same_each_time(self):
    other = tempfile.mkdtemp(dir=self.get_temp_dir())
    one, two = _train(self.directory), _train(other)
    self.assertEqual(one.model, two.model)
    self.assertNotEqual(one.fingerprint, _train(other, kind="bpe").fingerprint)

  def test_others_than_the_chief_write_nothing(self):
    vocabulary.load_or_train(
      small_text.make_split(),
      small_text.recipe(),
      self.directory,
      is_chief=False,
    )
    self.assertEmpty(os.listdir(self.directory))

  def test_damaged_file_is_made_again(self):
    words = _train(self.directory)
    (name,) = os.listdir(os.path.join(self.directory, "vocabulary"))
    path = os.path.join(self.directory, "vocabulary", name)
    with open(path, "r+b") as file:
      file.truncate(100)
    with self.assertWarnsRegex(UserWarning, "cannot be read, and is made"):
      self.assertEqual(_train(self.directory).model, words.model)
    with open(path, "rb") as file:
      self.assertEqual(file.read(), words.model)


def _model(split=None, **fields):
  return vocabulary.train(
    split or small_text.make_split(), small_text.recipe(**fields)
  )


class TrainingTest(tf.test.TestCase, parameterized.TestCase):
  def test_part_of_a_large_text(self):
    pairs = [(f"a{i}", f"b{i}") for i in range(1000)]
    split = small_text.make_split(pairs)
    for most, expected in ((2000, 1000), (9999, 1000), (600, 300), (2, 1)):
      sentences = list(vocabulary._Reader(split, most, is_chief=False))
      self.assertLen(sentences, 2 * expected)
      kept = [int(text[1:]) for text in sentences[::2]]
      self.assertEqual([f"b{i}" for i in kept], sentences[1::2])
      # Evenly spread.
      self.assertLessEqual(
        max(b - a for a, b in zip(kept, [*kept[1:], 1000])),
        1000 // expected + 1,
      )

  @parameterized.named_parameters(
    ("unigram", {"size": 8000}, "size=8000 is more than .* which is [0-9]+"),
    (
      "bpe",
      {"size": 8000, "kind": "bpe"},
      "size=8000 is more than .* which is [0-9]+",
    ),
    ("small", {"size": 10}, "size=10 is less than the [0-9]+ that single"),
    ("small bpe", {"size": 10, "kind": "bpe"}, "size=10 is less than"),
    (
      "bytes",
      {"size": 200, "byte_fallback": True},
      "size=200 is less than the [0-9]+ that single",
    ),
  )
  def test_mistakes(self, fields, message):
    with self.assertRaisesRegex(UserError, message):
      _model(**fields)

  @parameterized.parameters("unigram", "bpe")
  def test_the_greatest_size_that_the_error_names_can_be_had(self, kind):
    with self.assertRaises(UserError) as raised:
      _model(size=8000, kind=kind)
    size = int(str(raised.exception).rpartition("=")[2])
    model = _model(size=size, kind=kind)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    self.assertEqual(processor.vocab_size(), size)

  def test_text_without_a_word(self):
    split = small_text.make_split([("", ""), ("", "")])
    with self.assertRaisesRegex(UserError, "SentencePiece cannot train"):
      _model(split)

  def test_text_that_cannot_be_read(self):
    def read():
      yield "The old man", "Der alte Mann"
      raise UserError("train.de, line 2: this is not UTF-8")

    split = small_text.Split("train", 2, "bad", read)
    with self.assertRaisesRegex(UserError, "^train.de, line 2"):
      _model(split)


if __name__ == "__main__":
  tf.test.main()
