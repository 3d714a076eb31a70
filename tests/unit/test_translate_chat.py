"""Passages through a model that is told in words what to do: a voice of the test's own."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from backends.engines import Capabilities
from backends.engines.translate import Passage, Translation, chat, markup, pieces
from backends.engines.translate.chat import Hear, Prompt, Spoken
from backends.engines.translate.languages import HYMT
from backends.engines.translate.prompts import HYMT2, HYMT15, Book
from backends.engines.translate.text import join

LONG = "The library opens at nine. The cat sleeps.\n\n" * 400


class Voice:
    """Answers with `answer` of what stands after the prompt's last break, word by word."""

    title = "Voice"
    capabilities = Capabilities(
        languages=HYMT, glossary=True, context=True, html=True, style=True, delimiters=True
    )

    def __init__(
        self,
        answer: Callable[[str], str] = str.upper,
        book: Book = HYMT15,
        *,
        backwards: bool = False,
    ) -> None:
        self.answer = answer
        self.book = book
        self.backwards = backwards
        self.asked: list[Prompt] = []
        self.steps = 0

    def length(self, text: str) -> int:
        return len(text.split())

    def say(self, asked: Sequence[Prompt], hear: Hear) -> Sequence[Spoken]:
        self.asked += asked
        said = [self.answer(_text_of(each.text)) for each in asked]
        order = range(len(asked))
        for number in reversed(order) if self.backwards else order:
            listens = True
            for word in said[number].split(" "):
                if listens:
                    self.steps += 1
                    listens = hear(number, f" {word}", False)
            if listens:
                hear(number, " \n", True)
        return [Spoken(each, is_cut="CUT" in each) for each in said]


def _text_of(prompt: str) -> str:
    if "<source></source>" in prompt:
        return prompt.rpartition("<source>")[2].removesuffix("</source>")
    for mark in ("\n\n", "：\n", "[Source Text]\n"):
        if mark in prompt:
            return prompt.partition(mark)[2].strip()
    return prompt


def run(voice: Voice, *passages: Passage) -> tuple[list[Translation], list[list[str]]]:
    """What came out, and the parts of each that were passed on."""
    parts: list[list[str]] = [[] for _ in passages]

    def emit(index: int, part: str | None) -> bool:
        parts[index] += [part] if part is not None else []
        return True

    return chat.translate(voice, passages, emit), parts


def one(voice: Voice, passage: Passage) -> Translation:
    (made,), (parts,) = run(voice, passage)
    assert "".join(parts) == made.text
    assert "" not in parts
    return made


def test_a_short_text_goes_whole_with_its_lines_and_keeps_its_own_edges() -> None:
    voice = Voice()
    made = one(voice, Passage(" \nfirst line.\nsecond line.\n\n", "en", "fr"))
    assert made.text == " \nFIRST LINE.\nSECOND LINE.\n\n"
    assert len(voice.asked) == 1
    assert made.path == ("neural",)


def test_a_long_text_is_cut_at_sentences_and_joined_in_order() -> None:
    for backwards in (False, True):
        voice = Voice(backwards=backwards)
        made = one(voice, Passage(LONG, "en", "fr"))
        assert made.text == LONG.upper()
        assert len(voice.asked) > 3
        assert all(each.tokens <= HYMT15.most // 4 for each in voice.asked)
        assert all(each.text.endswith("sleeps.") for each in voice.asked)


def test_the_parts_of_a_line_are_joined_as_the_target_is_written() -> None:
    class Chinese(Voice):
        def length(self, text: str) -> int:
            return len(text)

    line = "图书馆九点开门。猫在睡觉。" * 200
    voice = Chinese(lambda text: text.replace("。", "."))
    made = one(voice, Passage(f"{line}\n{line}", "zh", "en"))
    parts = made.text.split(" ")
    assert len(parts) == len(voice.asked) > 4
    assert all(part.endswith(".") for part in parts)
    assert made.text.replace(" ", "") == f"{line}\n{line}".replace("。", ".")
    back = one(Voice(str), Passage(LONG.replace("\n\n", " "), "en", "ja"))
    assert "sleeps.The" in back.text
    assert back.text.endswith("sleeps. ")


def test_the_first_part_is_passed_on_before_the_last_is_made() -> None:
    voice = Voice()
    seen: list[int] = []

    def emit(_index: int, part: str | None) -> bool:
        seen.append(voice.steps)
        return True

    chat.translate(voice, [Passage(LONG, "en", "fr")], emit)
    assert seen[1] == 1


def test_a_reader_who_left_is_not_spoken_to_again() -> None:
    voice = Voice()
    asked: list[str | None] = []

    def emit(_index: int, part: str | None) -> bool:
        asked.append(part)
        return len(asked) < 4

    (made,) = chat.translate(voice, [Passage(LONG, "en", "fr")], emit)
    assert made.text == "".join(part or "" for part in asked)
    assert voice.steps <= 3 + len(voice.asked)  # the other pieces stop at their first word


def test_a_model_without_a_word_leaves_the_text_and_says_so() -> None:
    made = one(Voice(lambda text: " "), Passage("Hello there.", "en", "fr"))
    assert made.text == "Hello there."
    assert "was not translated" in made.warnings[0][0]


def test_an_answer_that_was_cut_off_says_so() -> None:
    made = one(Voice(), Passage("cut", "en", "fr"))
    assert "cut off" in made.warnings[0][0]


def test_two_wishes_at_once_grant_the_first_and_name_the_other() -> None:
    voice = Voice(book=HYMT2)
    passage = Passage("A house.", "en", "fr", glossary=(("house", "maison"),), style="formal")
    made = one(voice, passage)
    assert "house translates to maison" in voice.asked[0].text
    assert made.warnings[0][0] == (
        "Voice follows one wish at a time: it used the glossary, and not the style."
    )


def test_of_a_long_context_the_end_is_told() -> None:
    voice = Voice()
    context = "word " * 3000 + "end"
    made = one(voice, Passage("Hello.", "en", "fr", context=context))
    assert "last" in made.warnings[0][0]
    told = voice.asked[0].text.partition("\n参考")[0]
    assert told.endswith("word end")
    assert 500 < len(told.split()) <= chat.CONTEXT
    assert chat.tokens(voice, Passage("Hello.", "en", "fr", context=context)) == 1 + chat.CONTEXT


def test_the_source_is_found_for_the_answer_and_not_told_to_the_model() -> None:
    voice = Voice()
    found = one(voice, Passage("A biblioteca abre às nove da manhã.", "auto", "fr"))
    assert found.source == "pt"
    assert found.confidence > 0.5
    assert "Portuguese" not in voice.asked[0].text
    numbers = one(voice, Passage("12 345", "auto", "fr"))
    assert (numbers.source, numbers.confidence) == ("und", 0.0)


def test_a_text_that_is_in_the_target_already_is_left_and_nobody_is_asked() -> None:
    voice = Voice()
    made = one(voice, Passage("今天天气很好。", "auto", "zh"))
    assert (made.text, made.path, voice.asked) == ("今天天气很好。", (), [])
    assert "already" in made.warnings[0][0]


def test_the_same_prompt_has_the_same_seed_and_another_has_another() -> None:
    voice = Voice()
    for text in ("One.", "Two.", "One."):
        one(voice, Passage(text, "en", "fr"))
    seeds = [each.seed for each in voice.asked]
    assert seeds[0] == seeds[2] != seeds[1]


HTML = (
    '<p>Hi <b class="x">you &amp; me</b>, <img src="a.png"> here.</p>\n<pre>x < y</pre><p>Bye</p>'
)


def test_html_keeps_its_tags_entities_and_code() -> None:
    voice = Voice(lambda text: f"<target>{text}</target>" if "<s1>" in text else text)
    made = one(voice, Passage(HTML, "en", "fr", html=True))
    assert made.text == HTML
    assert made.warnings == ()
    tagged, plain = (each.text for each in voice.asked)
    assert "<source>Hi <s1>you & me</s1>, <s2></s2> here.</source>" in tagged
    assert plain.endswith("explanation.\n\nBye")


def test_html_whose_tags_were_lost_is_translated_in_parts_and_says_so() -> None:
    def loses(text: str) -> str:
        return text.replace("<s1>", "").upper() if "<s1>" in text else text.upper()

    made = one(Voice(loses), Passage(HTML, "en", "fr", html=True))
    first, code, last = made.text.partition("\n<pre>x < y</pre>")
    assert first == '<p>HI <b class="x">YOU &amp; ME</b>, <img src="a.png"> HERE.</p>'
    assert (bool(code), last) == (True, "<p>BYE</p>")
    assert "in parts" in made.warnings[0][0]


def test_html_is_passed_on_part_by_part() -> None:
    _, (parts,) = run(Voice(str), replace(Passage(HTML, "en", "fr"), html=True))
    assert len(parts) >= 3


WORDS = st.text(st.sampled_from("ab .\n,。你<>/s1&;"), max_size=60)


@given(WORDS, st.integers(1, 6))
def test_pieces_joined_are_the_text_and_have_no_edges(text: str, most: int) -> None:
    runs = pieces.cut(text, most, lambda each: len(each) // 3 + 1)
    assert join(runs) == text
    assert all(run.text == run.text.strip() != "" for run in runs if run.is_said)


TAGS = st.lists(
    st.sampled_from(["<b>", "</b>", "<i x=1>", "</i>", "<br/>", "one ", " two", "&amp;", "<s1>"]),
    max_size=9,
).map("".join)


@given(TAGS)
def test_numbered_tags_come_back_as_they_were(text: str) -> None:
    numbered = markup.numbered(text)
    back = markup.restored(numbered, numbered.text)
    if "<s1>" not in text:
        assert back == text


@given(TAGS)
def test_what_lies_between_tags_joined_is_the_text(text: str) -> None:
    assert join(markup.between(text)) == text
    assert join(markup.segments(text)) == text


def test_a_lost_doubled_crossed_or_strange_tag_is_not_accepted() -> None:
    numbered = markup.numbered("<b>one</b> <i>two</i>")
    assert numbered.text == "<s1>one</s1> <s2>two</s2>"
    for answer in (
        "one <s2>two</s2>",
        "<s1>one</s1> <s1>one</s1> <s2>two</s2>",
        "<s1>one <s2>two</s1></s2>",
        "<s1>one</s1> <s2>two",
        "<s1>one</s1> <s2>two</s2> <s3></s3>",
        "</s1>one<s1> <s2>two</s2>",
    ):
        assert markup.restored(numbered, answer) is None
    assert markup.restored(numbered, "<s2>2 < 3</s2><s1>1</s1>") == "<i>2 &lt; 3</i><b>1</b>"
