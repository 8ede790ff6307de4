"""English-German phrases composed from CLDR: data that needs no download.

Unicode's Common Locale Data Repository knows how dates, times, amounts, lists,
places and languages are written in each language; Babel formats by it, and
num2words writes numbers out. Parts that both make of the same thing are
translations of each other, and so are lists and labels composed of them.
"""

import datetime
import functools
import random
from collections.abc import Callable, Sequence

import babel
import num2words
from babel import dates, lists, numbers, units

Pair = tuple[str, str]  # English and German.
LANGUAGES = ("en", "de")
SIZES = {"train": 30_000, "validation": 1_000, "test": 1_000}

_LOCALES = tuple(babel.Locale(language) for language in LANGUAGES)
# Without "medium", which is like "long" in English, but in May alone.
_FORMATS = ("full", "long", "short")
# Units, currencies, languages and countries by their codes in CLDR.
_UNITS = (
  "area-hectare area-square-kilometer area-square-meter duration-day "
  "duration-hour duration-minute duration-month duration-second duration-week "
  "duration-year energy-kilowatt-hour length-centimeter length-foot "
  "length-kilometer length-meter length-mile mass-gram mass-kilogram "
  "mass-pound power-watt speed-kilometer-per-hour temperature-celsius "
  "volume-cubic-meter volume-liter"
)
_CURRENCIES = "EUR USD GBP CHF JPY INR SEK PLN BRL"
_CODES = {
  "languages": (
    "ar cs da de el en es fi fr he hi hu it ja ko la nl no pl pt ru sv tr uk zh"
  ),
  "territories": (
    "AR AT AU BE BR CA CH CN CZ DE DK EG ES FI FR GB GR HU IE IN IS IT JP KE "
    "KR MA MX NL NO NZ PE PL PT RU SE TH TR UA US VN ZA"
  ),
}
# Numbers are less than one of these: those written out, and those in digits.
_SPELT = (20, 100, 1_000)
_DIGITS = (20, 100, 1_000, 5_000)
# No keyboard has the spaces that are narrow or do not break.
_SPACES = str.maketrans(dict.fromkeys("\u00a0\u2009\u202f", " "))


@functools.cache
def make_splits() -> dict[str, list[Pair]]:
  """Returns the phrases of "train", "validation" and "test".

  The phrases are the same each time, whatever a run's seed, as long as Babel
  and num2words have the same versions. No English phrase is there twice.
  """
  rng = random.Random(0)
  pools = {
    make: [make(rng) for _ in range(size)] for make, size in _POOLS.items()
  }
  pools |= {kind: _names(kind) for kind in _CODES}
  phrases = {}
  while len(phrases) < sum(SIZES.values()):
    english, german = _make_phrase(rng, pools)
    phrases.setdefault(english, german)
  remaining = iter(phrases.items())
  return {
    name: [next(remaining) for _ in range(size)] for name, size in SIZES.items()
  }


def _make_phrase(rng, pools):
  """Returns a list of things of a kind, perhaps with a label or a remark."""
  (kind,) = rng.choices([*_LISTED], weights=_LISTED.values())
  things = rng.sample(pools[kind], rng.choice((1, 1, 1, 2, 2, 3)))
  phrase = _join(things, rng.choice(("standard", "standard", "or")))
  form = rng.choice(("{1}", "{0}: {1}", "{0}: {1}", "{1}, {2}", "{1} ({2})"))
  label = rng.choice(pools[rng.choice(_LABELS)])
  remark = rng.choice(pools[rng.choice(_REMARKS)])
  english, german = (
    form.format(*parts).translate(_SPACES)
    for parts in zip(label, phrase, remark)
  )
  return english[0].upper() + english[1:], german[0].upper() + german[1:]


def _join(things, style):
  return tuple(
    lists.format_list(names, style, locale)
    for names, locale in zip(zip(*things), _LOCALES)
  )


def _in_both(write: Callable[[babel.Locale], str]) -> Pair:
  return tuple(write(locale) for locale in _LOCALES)


def _date(rng):
  day, form = _day(rng), rng.choice(_FORMATS)
  return _in_both(lambda locale: dates.format_date(day, form, locale))


def _part_of_date(rng):
  day = _day(rng)
  skeleton = rng.choice(("yMMMM", "MMMMd", "MMMEd", "yQQQQ"))
  return _in_both(
    lambda locale: dates.format_skeleton(skeleton, day, locale=locale)
  )


def _interval(rng):
  start = _day(rng)
  end = start + datetime.timedelta(days=rng.randrange(1, 90))
  return _in_both(
    lambda locale: dates.format_interval(start, end, "yMMMd", locale=locale)
  )


def _day(rng):
  return datetime.date(1950, 1, 1) + datetime.timedelta(rng.randrange(36_500))


def _time(rng):
  time = datetime.time(*map(rng.randrange, (24, 60, 60)))
  form = rng.choice(("short", "medium"))
  return _in_both(lambda locale: dates.format_time(time, form, locale=locale))


def _moment(rng):
  moment = datetime.datetime.combine(
    _day(rng), datetime.time(rng.randrange(24), rng.randrange(60))
  )
  form = rng.choice(("medium", "short"))
  return _in_both(
    lambda locale: dates.format_datetime(moment, form, locale=locale)
  )


def _relative_time(rng):
  unit, most = rng.choice(dates.TIMEDELTA_UNITS)[0], rng.randrange(1, 12)
  seconds = dict(dates.TIMEDELTA_UNITS)[unit] * most * rng.choice((1, -1))
  return _in_both(
    lambda locale: dates.format_timedelta(
      datetime.timedelta(seconds=seconds),
      granularity=unit,
      threshold=1.0,
      add_direction=True,
      locale=locale,
    )
  )


def _amount(rng):
  unit, number = rng.choice(_UNITS.split()), _number(rng)
  spelt_out = rng.random() < 0.25
  if spelt_out:
    number = _whole_number(rng, _SPELT)

  def write(locale):
    text = units.format_unit(number, unit, locale=locale)
    if spelt_out:
      digits = numbers.format_decimal(number, locale=locale)
      text = text.replace(digits, _spell(number, "cardinal", locale))
    return text

  return _in_both(write)


def _money(rng):
  currency, number = rng.choice(_CURRENCIES.split()), _number(rng)
  kind = rng.choice(("standard", "name"))
  return _in_both(
    lambda locale: numbers.format_currency(
      number, currency, locale=locale, format_type=kind
    )
  )


def _percentage(rng):
  share = rng.randrange(1, 1000) / 1000
  return _in_both(
    lambda locale: numbers.format_percent(
      share, locale=locale, decimal_quantization=False
    )
  )


def _spelt_number(rng):
  form = rng.choice(("cardinal", "cardinal", "ordinal", "year"))
  number = _whole_number(rng, _SPELT)
  if form == "year":
    number = rng.randrange(1700, 2100)
  return _in_both(lambda locale: _spell(number, form, locale))


def _spell(number, form, locale):
  return num2words.num2words(number, to=form, lang=locale.language)


def _number(rng):
  number = _whole_number(rng, _DIGITS)
  return number if rng.random() < 0.7 else number + rng.randrange(1, 10) / 10


def _whole_number(rng, sizes):
  """Returns a number that German does not inflect: not 1, 101, 201, ..."""
  number = rng.randrange(2, rng.choice(sizes))
  return number if number % 100 != 1 else number + 1


def _names(kind) -> Sequence[Pair]:
  """Returns the names of the codes of a kind."""
  return [
    _in_both(lambda locale: getattr(locale, kind)[code])  # noqa: B023
    for code in _CODES[kind].split()
  ]


# Numbers of phrases to choose from, by the function that makes one.
_POOLS = {
  _amount: 5_000,
  _date: 3_000,
  _interval: 1_500,
  _moment: 1_500,
  _money: 4_000,
  _part_of_date: 1_500,
  _percentage: 1_000,
  _relative_time: 500,
  _spelt_number: 4_000,
  _time: 2_000,
}
# Kinds of things that are listed, and how often, in proportion.
_LISTED = {
  _amount: 5,
  _date: 2,
  _interval: 1,
  _moment: 1,
  _money: 3,
  _part_of_date: 1,
  _percentage: 1,
  _spelt_number: 1,
  _time: 1,
  "languages": 1,
  "territories": 1,
}
_LABELS = ("languages", "territories", _date, _part_of_date)
_REMARKS = (_relative_time, _part_of_date, _time, "territories")
