import re

from absl.testing import absltest

from trainers.translation import cldr_phrases


class CldrPhrasesTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.splits = cldr_phrases.make_splits()

  def test_splits_share_no_phrase(self):
    self.assertEqual([*self.splits], ["train", "validation", "test"])
    phrases = []
    for name, size in cldr_phrases.SIZES.items():
      self.assertLen(self.splits[name], size)
      phrases += [english for english, _ in self.splits[name]]
    self.assertLen(set(phrases), len(phrases))

  def test_the_same_each_time(self):
    self.assertEqual(self.splits, cldr_phrases.make_splits.__wrapped__())

  def test_text(self):
    for pairs in self.splits.values():
      for english, german in pairs:
        for text in (english, german):
          self.assertEqual(text, " ".join(text.split()))
          self.assertTrue(text[0].isupper() or not text[0].isalpha(), text)
          self.assertNotRegex(text, "[\u00a0\u2009\u202f{}]")

  def test_translations_have_the_same_numbers(self):
    # Amounts alone: dates write theirs in different orders.
    number = re.compile(r"[\d.,]*\d")
    for english, german in self.splits["test"]:
      if not re.search("(kilometers|euros)( and [^:()]*)?$", english):
        continue
      swapped = german.translate(str.maketrans(".,", ",."))
      if ":" not in english and "," not in english:
        self.assertEqual(number.findall(english), number.findall(swapped))


if __name__ == "__main__":
  absltest.main()
