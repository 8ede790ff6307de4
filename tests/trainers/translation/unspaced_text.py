"""Small corpora of languages without spaces, and one of two words a line."""

import dataclasses
import itertools
import random

_SOURCE = (
  ("The teacher", "The student", "The doctor", "My friend"),
  ("often", "today", "every morning"),
  ("in the park", "at home", "at school"),
  ("reads books", "drinks tea", "writes letters", "listens to music"),
)


@dataclasses.dataclass(frozen=True)
class Target:
  """What `_SOURCE` is translated to.

  Attributes:
    parts: Likewise.
    signature: What is in that of its scores.
    note: What is said of its scores, a regular expression.
  """

  parts: tuple[tuple[str, ...], ...]
  signature: str
  note: str


TARGETS = {
  "zh": Target(
    (
      ("老师", "学生", "医生", "我的朋友"),
      ("经常", "今天", "每天早上"),
      ("在公园里", "在家里", "在学校"),
      ("看书。", "喝茶。", "写信。", "听音乐。"),
    ),
    "eff:no|tok:zh",
    "validation: .* in Chinese, .* tokenizer zh",
  ),
  "ja": Target(
    (
      ("先生は", "学生は", "医者は", "友達は"),
      ("よく", "今日", "毎朝"),
      ("公園で", "家で", "学校で"),
      (
        "本を読みます。",
        "お茶を飲みます。",
        "手紙を書きます。",
        "音楽を聞きます。",
      ),
    ),
    "eff:no|tok:",  # ja-mecab where that is installed.
    "validation: .* in Japanese, .* tokenizer (ja-mecab|char; .*pip install)",
  ),
  "th": Target(
    (
      ("ครู", "นักเรียน", "หมอ", "เพื่อนของฉัน"),
      ("มัก", "วันนี้", "ทุกเช้า"),
      ("ในสวน", "ที่บ้าน", "ที่โรงเรียน"),
      ("อ่านหนังสือ", "ดื่มชา", "เขียนจดหมาย", "ฟังเพลง"),
    ),
    "eff:no|tok:char",
    "validation: .* in Thai, .* tokenizer char",
  ),
  "two words": Target(
    (
      ("Lehrer", "Schüler", "Ärzte", "Freunde"),
      ("", "innen", "kinder"),
      (" vor", " mit", " nach"),
      ("lesen", "trinken", "schreiben", "hören"),
    ),
    "eff:yes|tok:13a",
    "validation: no target sentence has 4 words.* up to 2 ",
  ),
}


def splits(target: str) -> dict[str, list[tuple[str, str]]]:
  """Returns 120 pairs to train, and 12 for each other split."""
  pairs = [
    (" ".join(english), "".join(other))
    for english, other in zip(
      itertools.product(*_SOURCE), itertools.product(*TARGETS[target].parts)
    )
  ]
  random.Random(0).shuffle(pairs)
  return {
    "train": pairs[:120],
    "validation": pairs[120:132],
    "test": pairs[132:],
  }
