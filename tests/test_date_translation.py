"""Date formats, and the translation experiment on a year or two of dates."""

import datetime
import io
import re
import shutil
import sys
import unicodedata

import date_figures
import date_translation
import numpy as np
import pytest
import translate
from cut import rows
from figure_checks import flaws

from rnn_jax import InputError
from rnn_jax.datasets import dates
from rnn_jax.plotting import style, translation

SMALL = {"hidden_size": 32, "batch_size": 32, "learning_rate": 0.01, "log_every": 20}
STRPTIME = (
    *("%a %d of %B, %Y", "%A, %B %d, %Y", "%d of %B %Y", "%B %d %Y", "%b %d, %Y", "%d %b %y"),
    *("%d-%b-%Y", "%d/%m/%y", "%d/%m/%Y", "%d.%m.%Y", "%d.%m.%y", "%Y/%m/%d", "%Y年%m月%d日"),
)
SOME_DAYS = [dates.FIRST + datetime.timedelta(n) for n in range(0, 36_525, 41)]


@pytest.fixture
def few_dates(monkeypatch):
    monkeypatch.setattr(dates, "LAST", datetime.date(1970, 6, 30))


def chinese(numeral):
    """The value of a number below 100 in Chinese numerals."""
    tens, ten, ones = numeral.rpartition("十")
    digit = dates.NUMERALS.index
    return 10 * ((digit(tens) if tens else 1) if ten else 0) + (digit(ones) if ones else 0)


@pytest.mark.parametrize("number, form", list(enumerate(STRPTIME)))
def test_python_parses_each_format_to_the_date_it_came_from(number, form):
    for day in SOME_DAYS:
        text = re.sub(r"(?<=\d)(st|nd|rd|th)", "", dates.in_all_forms(day)[number])
        assert datetime.datetime.strptime(text, form).date() == day


def test_chinese_numerals_parse_to_the_date_they_came_from():
    for day in SOME_DAYS:
        text = dates.in_all_forms(day)[-1]
        year, month, number = re.fullmatch("(.+)年(.+)月(.+)日", text).groups()
        years = int("".join(str(dates.NUMERALS.index(digit)) for digit in year))
        assert datetime.date(years, chinese(month), chinese(number)) == day


def test_training_and_test_dates_are_disjoint_and_complete():
    training, test = dates.split(10_000)
    assert len(test) == 10_000
    assert sorted(training + test) == [dates.FIRST + datetime.timedelta(n) for n in range(36_525)]


def test_the_vocabulary_holds_exactly_the_characters_of_the_dates():
    texts = [text for day in SOME_DAYS for text in dates.in_all_forms(day)]
    assert set("".join(texts).lower()) == set(dates.CHARACTERS)
    assert max(map(len, dates.in_all_forms(datetime.date(1999, 9, 29)))) == dates.MAX_LENGTH


def test_ids_decode_to_the_characters_of_the_text():
    texts = ["Mon 3 of March, 2025", "二〇二五年三月三日"]
    symbols, lengths = dates.encode([f" {text.upper()}\n" for text in texts])
    for text, row, length in zip(texts, symbols, lengths, strict=True):
        assert "".join(dates.CHARACTERS[number] for number in row[:length]) == text.lower()
    assert dates.decode_iso(dates.encode_iso(SOME_DAYS)) == [day.isoformat() for day in SOME_DAYS]


def test_chinese_is_romanized_and_other_text_unchanged():
    assert dates.to_pinyin("2025年12月3日") == "2025 nián 12 yuè 3 rì"
    assert dates.to_pinyin("十月三日") == "shí yuè sān rì"
    assert dates.to_pinyin("Mon 3 of March, 2025") == "Mon 3 of March, 2025"


@pytest.mark.parametrize(
    "flags, words",
    [
        ({"hidden_size": 0}, "--hidden-size must be at least 1, got 0."),
        ({"steps": 0}, "--steps must be at least 1, got 0."),
        ({"test_dates": 36_525}, "`test_dates` must be below 36,525, .* got 36,525."),
        ({"cell": "lstn", "test_dates": 36_000}, "cell must be one of .* got 'lstn'."),
    ],
)
def test_an_invalid_option_gives_one_clear_error(flags, words, tmp_path):
    with pytest.raises(InputError) as caught:
        date_translation.main(date_translation.Config(**flags, out_dir=tmp_path))
    assert re.fullmatch(words, str(caught.value))


def test_it_learns_resumes_and_translates_lines(few_dates, tmp_path, monkeypatch, capsys):
    settings = SMALL | {"attention": True, "steps": 120, "checkpoint_every": 100, "test_dates": 50}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    summary = date_translation.main(date_translation.Config(**settings, out_dir=whole))
    assert rows(whole)[-1]["loss"] < 0.4  # The entropy of these dates is 0.65 nats per character.
    for name in ("training.png", "translations.png", "attention.png"):
        assert (whole / name).read_bytes().startswith(b"\x89PNG")

    shutil.copytree(whole, cut)
    shutil.rmtree(cut / "checkpoints" / "step_120")
    (cut / "summary.json").unlink()
    resumed = date_translation.main(date_translation.Config(**settings, out_dir=cut, resume=True))
    assert rows(cut) == rows(whole)
    assert resumed["test_accuracy"] == summary["test_accuracy"]

    lines = "\ufeffMon 3 of March, 1969\n\nHuh?\n{}\n3.3\0.69\n{}\n一九六九年三月三日\n"
    lines = lines.format("9" * 100_000, "\udcff").encode(errors="surrogateescape")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines), encoding="utf-8"))
    capsys.readouterr()
    translate.main(translate.Config(whole))
    answers = capsys.readouterr().out.splitlines()
    first, empty, unknown, long, nul, odd, last = answers
    assert "got 100000" in long and "NUL" in nul and "not valid utf-8: byte 0xff" in odd
    for answer in (first, last):
        assert re.match(r"[\d-]{10}  \d+\.\d%", answer)
    assert "got 0" in empty and "'?'" in unknown


def test_pinyin_converts_back_to_the_same_text():
    for date in (datetime.date(2025, 3, 3), datetime.date(1970, 12, 31)):
        for text in dates.in_all_forms(date):
            shown = dates.to_pinyin(text)
            assert not set(shown) & set(dates.PINYIN)
            assert dates.from_pinyin(shown) == text
            assert dates.from_pinyin(unicodedata.normalize("NFD", shown)) == text


@pytest.mark.parametrize("font", [None, "DejaVu Sans"])
def test_figures_show_chinese_characters_if_a_font_has_them(font, monkeypatch):
    """The installed font lacks them, so a stub replaces the search for fonts."""
    monkeypatch.setattr(date_figures, "font_with", lambda _: font)
    texts, truths = ["2025年3月3日"], ["2025-03-03"]
    row = {"examples": 1, "loss": 1.0, "batch_accuracy": 1.0}
    summary = {"cell": "lstm", "attention": False, "seed": 0, "test_accuracy": 1.0}
    drawn = date_figures.figures(summary, [row], None, texts, truths, truths)
    figure = drawn["translations.png"]
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert ("2025年3月3日" in shown) == bool(font)
    assert ("2025 nián 3 yuè 3 rì" in shown) == (not font)
    assert ("pinyin, which translate.py" in figure._suptitle.get_text().replace("\n", " ")) == (
        not font
    )


def test_a_font_without_the_characters_is_not_used():
    assert style.font_with("\U0010fffd") is None


def test_the_table_marks_mistakes_and_counts_each_form():
    made = ["2025-03-03", "2025-13-04", "1999-01-01"]
    truths = ["2025-03-03", "2025-03-04", "1999-01-01"]
    shown = ["3.3.2025", "04/03/25", "1.1.1999"]
    figure = translation.translations_figure(shown, made, truths, [0, 1, 0], "a title")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"2 of 2", "0 of 1", "Mistakes of 1 in 3", "true date"} <= set(texts)
    bold = [t for t in figure.axes[0].texts if t.get_family() == ["monospace"]]
    assert (
        sum(text.get_weight() == "bold" for text in bold) == 2
    )  # In the table of forms and in that of mistakes.
    assert not flaws(figure)
    with pytest.raises(InputError, match="the same length"):
        translation.translations_figure(shown, made[:2], truths, [0, 1, 0], "a title")


def test_the_heat_maps_exclude_padding():
    weights = np.random.default_rng(0).dirichlet(np.ones(6), 10)
    figure = translation.attention_figure(
        [list("3.3.25"), list("1.1.")], ["2025-03-03"] * 2, [weights, weights], "a title"
    )
    assert [axes.images[0].get_array().shape for axes in figure.axes[:2]] == [(10, 6), (10, 4)]
    assert not flaws(figure)
