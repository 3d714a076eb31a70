"""Translate without a model: sentences, spans, paths, care with answers."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.engines.translate import (
    paths,
    rules,
    spans,
    text,
)
from backends.engines.translate.careful import Done, Fate, Step, render
from backends.engines.translate.spans import Span

LIKELY = st.sampled_from(
    [
        *"ab .,!?\n\t;:{}<>[]()&%#@`*-",
        "Mr. ",
        "The house is big. ",
        "{name}",
        "<b>",
        "</b>",
        "<br>",
        "🍎",
        "https://a.b/c?d=e",
        "me@here.org",
        "£3",
        "你好。",
        "&amp;",
        "```",
        "<!--",
        "-->",
        "XQ1X",
        "\r\n",
        "\u2028",
        "word " * 90,
    ]
)
TEXTS = st.one_of(st.text(), st.lists(LIKELY, max_size=40).map("".join))


def said(passage: str) -> list[str]:
    return [run.text for run in text.split(passage) if run.is_said]


def step(run: Callable[[str], str], source: str = "en", target: str = "pt") -> Step:
    """A translator that is a function of one sentence."""
    return Step(source, target, "neural", lambda all_, _: [run(each) for each in all_], _none)


def _none(_sentence: str) -> list[Span]:
    return []


# Cutting


@given(TEXTS)
def test_the_runs_of_a_text_joined_are_the_text(passage: str) -> None:
    assert text.join(text.split(passage)) == passage


@given(TEXTS)
def test_what_is_said_has_a_letter_and_begins_and_ends_with_something_to_translate(
    passage: str,
) -> None:
    for sentence in said(passage):
        assert any(map(str.isalpha, sentence))
        assert sentence == sentence.strip()


@given(st.lists(st.sampled_from(["word", "a,", "b;", "it", "x" * 30, "y" * 500]), max_size=300))
def test_no_sentence_is_longer_than_the_engine_reads(words: list[str]) -> None:
    assert all(len(sentence) <= text.LIMIT for sentence in said(" ".join(words)))


@given(TEXTS)
def test_halves_of_a_sentence_joined_are_the_sentence(passage: str) -> None:
    for sentence in said(passage):
        assert text.join(text.halves(sentence)) == sentence


def test_a_long_sentence_is_cut_at_a_clause() -> None:
    clause = "the people at the table were talking about the weather"
    parts = said(", ".join([clause] * 12) + ".")
    assert len(parts) == 2
    assert parts[0].endswith("weather,")


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("Mr. Smith met Dr. Jones. They talked.", 2),
        ("A Sra. Lima saiu. O Sr. Reis ficou.", 2),
        ("J. K. Rowling wrote it. I read it.", 2),
        ("It costs 3.50 dollars, e.g. Two of them do.", 1),
        ("See p. 5 and No. 7 of it.", 1),
        ("He said no. Then he left.", 2),
        ("So do I. You too.", 2),
        ('"Why?" she asked. "Because!" He left.', 3),
        ("Wait... and see.", 1),
        ("¿Qué hora es? ¡Vamos!", 2),
        ("你好。今天很好！", 2),
        ('See <a title="Here. There.">it</a> now.', 1),
        ("<p>One.</p><p>Two.</p>", 2),
        ("One\nTwo\n\n\nThree", 3),
        ("A\tB", 2),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(line: str, sentences: int) -> None:
    assert len(said(line)) == sentences


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("  - one apple", "one apple"),
        ("12. First step", "First step"),
        ("# A title", "A title"),
        ("<b>Save</b> it.", "Save</b> it."),
        ("Great! 🎉🎉", "Great!"),
        ("```\nint a;\n``` and so on", "and so on"),
        ("<script>var house = 1;</script>House", "House"),
    ],
)
def test_marks_tags_code_and_emoji_at_the_ends_are_not_translated(line: str, sentence: str) -> None:
    assert said(line) == [sentence]


@pytest.mark.parametrize(
    "line", ["", "  \n ", "123", "10:30 - 11:00", "{name}", "🍎", "<br>", "£3"]
)
def test_nothing_without_a_letter_is_translated(line: str) -> None:
    assert said(line) == []


def test_what_no_translator_can_read_is_dropped() -> None:
    assert text.clean("a\x00b\ud800c\nd") == "abc\nd"


# Spans


@given(TEXTS)
def test_restoring_what_was_hidden_is_the_identity(passage: str) -> None:
    masked = spans.mask(passage, spans.find(passage))
    assert spans.restore(masked, masked.text) == passage


@pytest.mark.parametrize(
    "kept",
    [
        "{name}",
        "${order_id}",
        "{{ user.name }}",
        "%s",
        "%(phone)s",
        "%1$s",
        "%.2f",
        "<b>",
        '<a href="/x y">',
        "&nbsp;",
        "https://a.b/c?d=e#f",
        "www.here.org",
        "john.doe@example.com",
        "`code it`",
        "@anna",
        "#topic",
        "£3.50",
        "5 €",
        "🎉",
        "👩‍👩‍👧",
        "/usr/local/bin",
        "C:\\Temp\\x.txt",
        "XQ1X",
    ],
)
def test_what_must_stay_is_found_whole(kept: str) -> None:
    passage = f"Now {kept} here."
    assert [passage[span.start : span.end] for span in spans.find(passage)] == [kept]


@pytest.mark.parametrize(
    "words", ["100% sure", "50%d", "and/or", "a, b (c)", "it's 5 o'clock", "A & B"]
)
def test_plain_words_are_not_held_back(words: str) -> None:
    assert spans.find(words) == []


def test_an_answer_that_lost_doubled_or_reordered_what_must_stay_is_refused() -> None:
    passage = "Press <b>the key</b> of {name}."
    masked = spans.mask(passage, spans.find(passage))
    assert spans.restore(masked, "Prima XQ0X a tecla XQ1X de XQ2X.") == (
        "Prima <b>a tecla</b> de {name}."
    )
    assert spans.restore(masked, "Prima XQ0X a tecla XQ1X.") is None
    assert spans.restore(masked, "Prima XQ0X a tecla XQ1X de XQ2X XQ2X.") is None
    assert spans.restore(masked, "Prima XQ1X a tecla XQ0X de XQ2X.") is None
    assert spans.restore(masked, "Prima a tecla XQ0X XQ1X de XQ2X.") is None


def test_the_same_number_or_hour_in_another_writing_is_the_same() -> None:
    assert spans.numbers("1,000 at 3 p.m. and 10:30") == spans.numbers("1.000 às 15h e 10:30")
    assert spans.numbers("9 a.m.") == spans.numbers("9 da manhã")
    assert spans.numbers("at 3 p.m.") != spans.numbers("às 16h")


# Care with answers


def test_what_a_step_spoils_whole_is_translated_in_parts_and_says_so() -> None:
    def loses_placeholders(sentence: str) -> str:
        return "o nome" if "XQ" in sentence else sentence.upper()

    asked = "Dear {name} and {other}, hello."
    assert render(step(loses_placeholders), [asked], marks=False) == [
        Done("DEAR {name} AND {other}, HELLO.", Fate.APART)
    ]


def test_a_number_that_got_lost_is_hidden_and_asked_for_again() -> None:
    asked = []

    def loses_numbers(sentence: str) -> str:
        asked.append(sentence)
        return "".join(c for c in sentence if c in "XQ0 " or not c.isdigit())

    assert render(step(loses_numbers), ["It is 978 here"], marks=False) == [
        Done("It is 978 here", Fate.WHOLE)
    ]
    assert asked == ["It is 978 here", "It is XQ0X here"]


def test_an_answer_cut_short_is_asked_for_again_in_halves() -> None:
    sentence = (
        "the soup needs more salt than anybody would expect, "
        "and the bread is too hard to cut with this knife"
    )

    def cuts_long_ones(sentence: str) -> str:
        return sentence.upper()[:55]

    assert render(step(cuts_long_ones), [sentence], marks=False) == [
        Done(sentence.upper(), Fate.APART)
    ]


def test_a_sentence_that_cannot_be_translated_is_kept_and_the_others_are_not_touched() -> None:
    def fails_at_long_ones(sentence: str) -> str:
        return "" if "bad" in sentence else sentence.upper()

    done = render(step(fails_at_long_ones), ["one", "bad one", "two"], marks=False)
    assert done == [Done("ONE", Fate.WHOLE), Done("bad one", Fate.KEPT), Done("TWO", Fate.WHOLE)]


@given(st.lists(TEXTS.filter(str.strip), max_size=4))
def test_a_step_that_changes_nothing_gives_back_what_came(sentences: list[str]) -> None:
    done = render(step(str), sentences, marks=False)
    assert [each.text for each in done] == sentences


# Paths


def chain(*names: str) -> list[Step]:
    return [step(str, *name.split("-")) for name in names]


NEURAL = chain("en-pt", "pt-en")


def test_the_shortest_path_is_taken() -> None:
    steps = [*NEURAL, *chain("pt-ca", "pt-es", "es-ca", "ca-fr")]
    path = paths.shortest(steps, "en", "fr")
    assert path is not None
    assert [each.target for each in path] == ["pt", "ca", "fr"]


@pytest.mark.parametrize(
    ("modes", "count"),
    [
        (frozenset(), 2),
        (frozenset({"es-pt", "pt-es", "unheard-of"}), 6),
        (frozenset(rules.MODES.values()), 30),
    ],
)
def test_pairs_follow_from_what_is_installed(modes: frozenset[str], count: int) -> None:
    pairs = paths.pairs([*NEURAL, *rules.steps(modes)])
    assert len(pairs) == len(set(pairs)) == count
    assert {("en", "pt"), ("pt", "en")} <= set(pairs)
    assert (("fr", "it") in pairs) == (count == 30)


def test_a_longer_path_that_was_found_last_is_not_taken() -> None:
    path = paths.shortest(chain("en-pt", "en-ca", "ca-fr", "fr-it", "pt-it"), "en", "it")
    assert path is not None
    assert [each.target for each in path] == ["pt", "it"]


def test_there_is_no_path_to_a_language_that_nothing_reaches() -> None:
    assert paths.shortest(NEURAL, "en", "zh") is None


def test_modes_are_never_asked_of_a_program_that_is_absent() -> None:
    assert rules.installed("no-such-program") == frozenset()
