"""Dates in the forms that people write them in, and as arrays; NumPy only."""

import datetime
import unicodedata
from collections.abc import Sequence

import numpy as np

from rnn_jax.errors import InputError

FIRST, LAST = datetime.date(1969, 1, 1), datetime.date(2068, 12, 31)
"""The century that a year of two digits belongs to: 69 is 1969 and 68 is 2068, as in POSIX."""

FORMS = (
    "{a} {d} of {B}, {y}",
    "{A}, {B} {d}, {y}",
    "{d}{th} of {B} {y}",
    "{B} {d} {y}",
    "{b} {d}, {y}",
    "{d} {b} {yy}",
    "{d}-{b}-{y}",
    "{dd}/{mm}/{yy}",
    "{dd}/{mm}/{y}",
    "{d}.{m}.{y}",
    "{d}.{m}.{yy}",
    "{y}/{mm}/{dd}",
    "{y}年{m}月{d}日",
    "{year}年{month}月{day}日",
)
"""How dates are written. Those of numbers alone begin with the day, so that 03/04/25 is 3 April
2025, or with a year of four digits."""

NUMERALS = "〇一二三四五六七八九"
CHARACTERS = " ,-./0123456789abcdefghijlmnoprstuvwy" + NUMERALS + "十年月日"
"""All that the forms are made of; capital letters are read as small ones."""
_SYLLABLES = "líng yī èr sān sì wǔ liù qī bā jiǔ shí nián yuè rì"
PINYIN = dict(zip(NUMERALS + "十年月日", _SYLLABLES.split(), strict=True))
"""Pinyin of the Chinese characters, for figures on machines without a font that has them."""
LONGEST = 29
"""Characters of the longest, to which all are padded."""

ISO_CHARACTERS = "0123456789-"
ISO_LENGTH = 10


def written(date: datetime.date) -> list[str]:
    """A date in each of the FORMS."""
    day, month, year = date.day, date.month, date.year
    ordinal = "th" if day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    names = date.strftime("%a %A %b %B").split()
    fields = dict(zip("aAbB", names, strict=True)) | {
        **{"d": day, "dd": f"{day:02}", "th": ordinal, "day": _chinese(day)},
        **{"m": month, "mm": f"{month:02}", "month": _chinese(month)},
        **{"y": year, "yy": f"{year % 100:02}"},
        "year": "".join(NUMERALS[int(digit)] for digit in str(year)),
    }
    return [form.format_map(fields) for form in FORMS]


def _chinese(number):
    tens, ones = divmod(number, 10)
    return NUMERALS[tens] * (tens > 1) + "十" * (tens > 0) + NUMERALS[ones] * (ones > 0)


def romanised(text: str) -> str:
    """A written date in Latin letters: 2025 nián 3 yuè 3 rì for 2025年3月3日."""
    for character, syllable in PINYIN.items():
        text = text.replace(character, f" {syllable} ")
    return " ".join(text.split())


def from_pinyin(text: str) -> str:
    """The written date that `romanised` made a text of; other texts stay as they are."""
    characters = {syllable: character for character, syllable in PINYIN.items()}
    words = unicodedata.normalize("NFC", text).lower().split()
    if not any(word in characters for word in words):
        return text
    return "".join(characters.get(word, word) for word in words)


def split(test_dates: int) -> tuple[list[datetime.date], list[datetime.date]]:
    """All dates from FIRST to LAST in one fixed random order: those to train on, those held out.

    Raises:
      InputError: nothing is left to train on.
    """
    count = (LAST - FIRST).days + 1
    if test_dates >= count:
        raise InputError(
            f"--test-dates must be below {count:,}, all there are from {FIRST} to {LAST}; "
            f"got {test_dates:,}."
        )
    order = np.random.default_rng(0).permutation(count).tolist()
    dates = [FIRST + datetime.timedelta(days) for days in order]
    return dates[test_dates:], dates[:test_dates]


def encode(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the characters of each text, [N, LONGEST], and the texts' lengths [N].

    Raises:
      InputError: a text that is empty or too long, or with characters that no form has.
    """
    texts = [text.strip().lower() for text in texts]
    for text in texts:
        if not 0 < len(text) <= LONGEST:
            raise InputError(
                f"a date must have 1 to {LONGEST} characters, got {len(text)}; "
                "write it like Mon 3 of March, 2025 or 3.3.25."
            )
        if "\0" in text:  # What pads the texts.
            raise InputError(f"{text!r} holds a NUL character, which no date has.")
    return _numbers(texts, CHARACTERS, LONGEST), np.array([len(text) for text in texts], np.int32)


def encode_iso(dates: Sequence[datetime.date]) -> np.ndarray:
    """The numbers of the characters of the dates in ISO form, [N, ISO_LENGTH]."""
    return _numbers([date.isoformat() for date in dates], ISO_CHARACTERS, ISO_LENGTH)


def decode_iso(symbols: np.ndarray) -> list[str]:
    """The texts of the numbers [N, ISO_LENGTH]."""
    return ["".join(ISO_CHARACTERS[number] for number in row) for row in symbols]


def _numbers(texts, characters, longest):
    codes = np.array(texts, f"U{longest}").view(np.uint32).reshape(-1, longest)
    table = np.full(0x110000, len(characters), np.int8)
    table[[0, *map(ord, characters)]] = [0, *range(len(characters))]
    numbers = table[codes]
    if (numbers == len(characters)).any():
        unknown = "".join(dict.fromkeys(map(chr, codes[numbers == len(characters)])))
        raise InputError(f"{unknown!r} was in no date to learn from; known are {characters!r}.")
    return numbers
