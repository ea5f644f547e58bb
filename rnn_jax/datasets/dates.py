"""Dates as text in 14 formats, and as arrays of character ids; NumPy only."""

import datetime
import unicodedata
from collections.abc import Sequence

import numpy as np

from rnn_jax.errors import InputError

FIRST, LAST = datetime.date(1969, 1, 1), datetime.date(2068, 12, 31)
"""First and last date. A two-digit year is unambiguous: 69 is 1969 and 68 is 2068, as in POSIX."""

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
"""Date formats. Purely numeric ones start with the day, so that 03/04/25 is 3 April 2025, or with
a four-digit year."""

NUMERALS = "〇一二三四五六七八九"
CHARACTERS = " ,-./0123456789abcdefghijlmnoprstuvwy" + NUMERALS + "十年月日"
"""All characters of the formats. Input is lowercased."""
_SYLLABLES = "líng yī èr sān sì wǔ liù qī bā jiǔ shí nián yuè rì"
PINYIN = dict(zip(NUMERALS + "十年月日", _SYLLABLES.split(), strict=True))
"""Pinyin of the Chinese characters, for figures on machines without a CJK font."""
MAX_LENGTH = 29
"""Number of characters in the longest text; shorter texts are padded to it."""

ISO_CHARACTERS = "0123456789-"
ISO_LENGTH = 10


def in_all_forms(date: datetime.date) -> list[str]:
    """Format a date in each of `FORMS`."""
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


def to_pinyin(text: str) -> str:
    """Replace Chinese characters with pinyin: 2025年3月3日 becomes 2025 nián 3 yuè 3 rì."""
    for character, syllable in PINYIN.items():
        text = text.replace(character, f" {syllable} ")
    return " ".join(text.split())


def from_pinyin(text: str) -> str:
    """Invert `to_pinyin`. Text without pinyin is returned unchanged."""
    characters = {syllable: character for character, syllable in PINYIN.items()}
    words = unicodedata.normalize("NFC", text).lower().split()
    if not any(word in characters for word in words):
        return text
    return "".join(characters.get(word, word) for word in words)


def split(test_dates: int) -> tuple[list[datetime.date], list[datetime.date]]:
    """Shuffle all dates from `FIRST` to `LAST` and split them into (training, test) dates.

    The order is the same in every run.

    Raises:
      InputError: no date is left to train on.
    """
    count = (LAST - FIRST).days + 1
    if test_dates >= count:
        raise InputError(
            f"`test_dates` must be below {count:,}, the number of dates from {FIRST} to {LAST}; "
            f"got {test_dates:,}."
        )
    order = np.random.default_rng(0).permutation(count).tolist()
    dates = [FIRST + datetime.timedelta(days) for days in order]
    return dates[test_dates:], dates[:test_dates]


def encode(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Encode texts as character ids [N, MAX_LENGTH] and lengths [N].

    Raises:
      InputError: a text is empty or too long, or has a character that no format uses.
    """
    texts = [text.strip().lower() for text in texts]
    for text in texts:
        if not 0 < len(text) <= MAX_LENGTH:
            raise InputError(
                f"a date must have 1 to {MAX_LENGTH} characters, got {len(text)}; "
                "write it like Mon 3 of March, 2025 or 3.3.25."
            )
        if "\0" in text:  # NumPy pads strings with NUL.
            raise InputError(f"{text!r} contains a NUL character; remove it.")
    lengths = np.array([len(text) for text in texts], np.int32)
    return _ids(texts, CHARACTERS, MAX_LENGTH), lengths


def encode_iso(dates: Sequence[datetime.date]) -> np.ndarray:
    """Encode dates in ISO 8601 format as character ids [N, ISO_LENGTH]."""
    return _ids([date.isoformat() for date in dates], ISO_CHARACTERS, ISO_LENGTH)


def decode_iso(ids: np.ndarray) -> list[str]:
    """Decode character ids [N, ISO_LENGTH] to strings."""
    return ["".join(ISO_CHARACTERS[i] for i in row) for row in ids]


def _ids(texts, characters, length):
    codes = np.array(texts, f"U{length}").view(np.uint32).reshape(-1, length)
    unknown = len(characters)
    table = np.full(0x110000, unknown, np.int8)
    table[[0, *map(ord, characters)]] = [0, *range(len(characters))]
    ids = table[codes]
    if (ids == unknown).any():
        found = "".join(dict.fromkeys(map(chr, codes[ids == unknown])))
        raise InputError(f"a date must consist of the characters {characters!r}, got {found!r}.")
    return ids
