import re

from absl.testing import absltest

from trainers.translation import cldr_phrases

_MONTHS = {
  "January": "Januar",
  "February": "Februar",
  "March": "März",
  "April": "April",
  "May": "Mai",
  "June": "Juni",
  "July": "Juli",
  "August": "August",
  "September": "September",
  "October": "Oktober",
  "November": "November",
  "December": "Dezember",
}
_NUMBERS = dict(
  re.findall(
    r"(\w+) (\w+)",
    """one ein, two zwei, three drei, four vier, five fünf, six sechs,
    seven sieben, eight acht, nine neun, ten zehn, eleven elf, twelve zwölf,
    thirteen dreizehn, fourteen vierzehn, fifteen fünfzehn, sixteen sechzehn,
    seventeen siebzehn, eighteen achtzehn, nineteen neunzehn, twenty zwanzig,
    thirty dreißig, forty vierzig, fifty fünfzig, sixty sechzig,
    seventy siebzig, eighty achtzig, ninety neunzig""",
  )
)


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

  def _found(self, pattern):
    """Yields what is found in each English phrase of a form, and the German."""
    count = 0
    for pairs in self.splits.values():
      for english, german in pairs:
        found = re.fullmatch(pattern, english)
        if found:
          count += 1
          yield found, german
    self.assertGreater(count, 10, pattern)

  def test_dates_by_hand(self):
    months = "|".join(_MONTHS)
    for found, german in self._found(rf"({months}) (\d+), (\d{{4}})"):
      month, day, year = found.groups()
      self.assertEqual(german, f"{day}. {_MONTHS[month]} {year}")

  def test_amounts_by_hand(self):
    for found, german in self._found(r"([\d.,]+) (hours|meters|miles)"):
      number = found[1].translate(str.maketrans(".,", ",."))
      unit = {"hours": "Stunden", "meters": "Meter", "miles": "Meilen"}
      self.assertEqual(german, f"{number} {unit[found[2]]}")

  def test_lists_by_hand(self):
    for found, german in self._found(r".*, (and|or) ([\d.,]*\d) US dollars"):
      joint = {"and": "und", "or": "oder"}[found[1]]
      number = found[2].translate(str.maketrans(".,", ",."))
      self.assertEndsWith(german, f" {joint} {number} US-Dollar")
      self.assertNotIn(f", {joint}", german)

  def test_spelt_numbers_by_hand(self):
    units = {"watts": "Watt", "grams": "Gramm", "liters": "Liter"}
    for found, german in self._found(
      rf"([A-Z][a-z]+)-?([a-z]*) ({'|'.join(units)})"
    ):
      number, ones = _NUMBERS[found[1].lower()], found[2]
      if ones:
        number = f"{_NUMBERS[ones]}und{number}"
      self.assertEqual(german, f"{number.capitalize()} {units[found[3]]}")


if __name__ == "__main__":
  absltest.main()
