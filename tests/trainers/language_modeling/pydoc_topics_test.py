import collections

from absl.testing import absltest

from trainers.language_modeling import pydoc_topics

_SHARED = "The same long paragraph, which two of the topics have word for word."


class PydocTopicsTest(absltest.TestCase):
  def test_topics_that_share_a_paragraph_are_in_one_split(self):
    # A topic is known by its number of words, 30, 60, ...
    topics = {f"t{i}": "x " * 30 * i for i in range(1, 13)}
    plain = pydoc_topics.make_splits(topics)
    self.assertEqual(
      {k: [len(x.split()) // 30 for x in v] for k, v in plain.items()},
      {
        "train": [12, 11, 10, 7, 6, 5, 4, 1],
        "validation": [9, 3],
        "test": [8, 2],
      },
    )
    for pair in ((9, 1), (8, 2), (3, 2), (12, 9)):
      shared = {
        name: f"{text}\n\n{_SHARED}" if int(name[1:]) in pair else text
        for name, text in topics.items()
      }
      splits = pydoc_topics.make_splits(shared)
      sizes = {
        name: [len(line.split()) for line in part]
        for name, part in splits.items()
      }
      # The shared paragraph is there once, with both that have it.
      of_it = [30 * pair[0], len(_SHARED.split()) + 2, 30 * pair[1]]
      self.assertEqual(sum(map(len, sizes.values())), 13)
      found = [name for name in sizes if {*of_it} & {*sizes[name]}]
      self.assertLen(found, 1)
      self.assertContainsSubset(of_it, sizes[found[0]])

  def test_words(self):
    text = "The_word's \"End\":\n  it's x1 — 3.5\n*****\n\n*****\n\n42"
    splits = pydoc_topics.make_splits({"a": f"{text}", "b": text, "c": text})
    self.assertEqual(splits["validation"], [])
    # Each word once: they are rare.
    (line,) = splits["train"]
    self.assertEqual(line, " ".join(["<unk>"] * 11))

  def test_frequent_words_of_the_training_text_stay(self):
    splits = pydoc_topics.make_splits({"a": "Yes yes yes no: no"})
    self.assertEqual(splits["train"], ["yes yes yes <unk> <unk> <unk>"])

  def test_the_text_of_this_python(self):
    splits = pydoc_topics.make_splits()
    sizes = {k: sum(len(x.split()) for x in v) for k, v in splits.items()}
    total = sum(sizes.values())
    self.assertGreater(total, 50_000)
    for name in ("validation", "test"):
      self.assertBetween(sizes[name] / total, 0.05, 0.2)
    lines = collections.Counter(
      line for part in splits.values() for line in part if "<unk>" not in line
    )
    long = {line: n for line, n in lines.items() if len(line) > 80}
    self.assertEqual({*long.values()}, {1})
    counts = collections.Counter(" ".join(splits["train"]).split())
    self.assertGreaterEqual(min(counts.values()), 3)
    for name in ("validation", "test"):
      self.assertContainsSubset({*" ".join(splits[name]).split()}, counts)


if __name__ == "__main__":
  absltest.main()
