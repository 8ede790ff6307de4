import sentencepiece
import tensorflow as tf
from absl.testing import parameterized

from tests.trainers.translation import small_text
from trainers.errors import UserError
from trainers.translation import vocabulary_training


def _train(split=None, **fields):
  config = small_text.config(**fields)
  vocabulary_training.check(config)
  return vocabulary_training.train(split or small_text.make_split(), config)


class VocabularyTrainingTest(tf.test.TestCase, parameterized.TestCase):
  def test_part_of_a_large_text(self):
    pairs = [(f"a{i}", f"b{i}") for i in range(1000)]
    split = small_text.make_split(pairs)
    for most, expected in ((2000, 1000), (9999, 1000), (600, 300), (2, 1)):
      sentences = list(vocabulary_training._Reader(split, most, is_chief=False))
      self.assertLen(sentences, 2 * expected)
      kept = [int(text[1:]) for text in sentences[::2]]
      self.assertEqual([f"b{i}" for i in kept], sentences[1::2])
      # Evenly spread.
      self.assertLessEqual(
        max(b - a for a, b in zip(kept, [*kept[1:], 1000])),
        1000 // expected + 1,
      )

  @parameterized.named_parameters(
    ("kind", {"kind": "wordpiece"}, "vocabulary.kind must be one of"),
    ("coverage", {"character_coverage": 0.5}, r"in \[0.98, 1\]. Received: 0.5"),
    ("negative", {"size": -1}, "vocabulary.size must be positive"),
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
      _train(**fields)

  @parameterized.parameters("unigram", "bpe")
  def test_the_greatest_size_that_the_error_names_can_be_had(self, kind):
    with self.assertRaises(UserError) as raised:
      _train(size=8000, kind=kind)
    size = int(str(raised.exception).split()[-1].rstrip("."))
    model = _train(size=size, kind=kind)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    self.assertEqual(processor.vocab_size(), size)

  def test_text_without_a_word(self):
    split = small_text.make_split([("", ""), ("", "")])
    with self.assertRaisesRegex(UserError, "SentencePiece cannot train"):
      _train(split)

  def test_text_that_cannot_be_read(self):
    def read():
      yield "The old man", "Der alte Mann"
      raise UserError("train.de, line 2: this is not UTF-8")

    split = small_text.Split("train", 2, "bad", read)
    with self.assertRaisesRegex(UserError, "^train.de, line 2"):
      _train(split)


if __name__ == "__main__":
  tf.test.main()
