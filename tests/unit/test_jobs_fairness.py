"""Whose job is next: tenants take turns, callers within them, and priority starves nobody."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from backends.jobs.fairness import REMEMBERED, Turns, Waiting, rank


def job(name: str, tenant: str = "a", subject: str = "x", at: float = 0.0) -> Waiting:
    return Waiting(name, tenant, subject, at)


def served(turns: Turns, jobs: list[Waiting]) -> list[Waiting]:
    """The order in which they really run, one after the other."""
    left, done = list(jobs), []
    while left:
        following = turns.order(left)[0]
        turns.take(following)
        left.remove(following)
        done.append(following)
    return done


def test_one_callers_jobs_run_in_the_order_they_came() -> None:
    jobs = [job("3", at=3), job("1", at=1), job("2", at=2)]
    assert [one.id for one in Turns().order(jobs)] == ["1", "2", "3"]


def test_a_tenant_with_many_jobs_does_not_hold_up_one_with_few() -> None:
    many = [job(f"a{n}", "a", at=n) for n in range(20)]
    few = [job("b0", "b", at=100), job("c0", "c", at=101)]
    order = [one.id for one in Turns().order(many + few)]
    assert order[:4] == ["a0", "b0", "c0", "a1"]


def test_within_a_tenant_callers_take_turns_too() -> None:
    jobs = [job(f"x{n}", subject="x", at=n) for n in range(3)]
    jobs += [job(f"y{n}", subject="y", at=10 + n) for n in range(2)]
    assert [one.id for one in Turns().order(jobs)] == ["x0", "y0", "x1", "y1", "x2"]


def test_who_was_just_served_comes_last_even_after_its_queue_was_empty() -> None:
    turns = Turns()
    for one in (job("a0", "a"), job("b0", "b")):
        turns.take(one)
    order = [one.id for one in turns.order([job("b1", "b", at=1), job("a1", "a", at=9)])]
    assert order == ["a1", "b1"]


def test_priority_orders_a_callers_own_jobs_and_no_others() -> None:
    plain = job("plain", "a", "x", at=rank(100.0, 0, 60))
    urgent = job("urgent", "a", "x", at=rank(130.0, 1, 60))
    other = job("other", "b", "y", at=rank(90.0, 0, 60))
    assert [one.id for one in Turns().order([plain, urgent, other])] == [
        "urgent", "other", "plain",
    ]  # fmt: skip


def test_a_job_of_low_priority_is_not_overtaken_for_ever() -> None:
    low = job("low", at=rank(0.0, -5, 60))
    urgent = [job(f"urgent{n}", at=rank(float(n), 0, 60)) for n in range(0, 1000, 10)]
    order = [one.id for one in Turns().order([low, *urgent])]
    assert order.index("low") == 30  # everything that came in its first five minutes, then it


def test_what_is_remembered_of_callers_is_bounded() -> None:
    turns = Turns()
    for n in range(REMEMBERED + 10):
        turns.take(job(str(n), tenant=str(n)))
    assert len(turns._tenants) == len(turns._callers) == REMEMBERED


def test_a_caller_that_is_served_now_and_then_is_not_forgotten() -> None:
    turns = Turns()
    turns.take(job("a0", "a"))
    for n in range(REMEMBERED - 1):
        turns.take(job(str(n), tenant=f"once {n}"))
    turns.take(job("a1", "a"))
    turns.take(job("new", "new"))
    order = turns.order([job("a2", "a", at=0), job("other", "once 5", at=9)])
    assert [one.id for one in order] == ["other", "a2"]


jobs_of_several = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(0, 9)), max_size=30
).map(lambda rows: [job(str(n), t, s, at) for n, (t, s, at) in enumerate(rows)])


@settings(deadline=None)  # a busy machine is no failure
@given(jobs_of_several)
def test_the_order_shown_is_the_order_run(jobs: list[Waiting]) -> None:
    turns = Turns()
    shown = turns.order(jobs)
    assert served(turns, jobs) == shown
    assert sorted(one.id for one in shown) == sorted(one.id for one in jobs)


@settings(deadline=None)  # a busy machine is no failure
@given(jobs_of_several)
def test_nobody_is_served_twice_while_another_tenant_waits(jobs: list[Waiting]) -> None:
    order = Turns().order(jobs)
    for at, (one, following) in enumerate(pairwise(order)):
        if one.tenant == following.tenant:
            assert {later.tenant for later in order[at + 1 :]} == {one.tenant}
