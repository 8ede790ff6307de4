from absl.testing import absltest

from trainers.translation import scoring

_REFERENCES = [
  "Ein Mann sieht, dass der Hund im Garten liegt.",
  "Drei Kinder spielen am Strand.",
]


class ScoringTest(absltest.TestCase):
  def test_the_same_text_has_100(self):
    score, signature = scoring.bleu(_REFERENCES, _REFERENCES)
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
    score, _ = scoring.bleu(translations, _REFERENCES)
    self.assertAlmostEqual(score, 100 * product**0.25, places=4)


if __name__ == "__main__":
  absltest.main()
