"""What an engine remembers is bounded, and the last used stays longest."""

import threading

from backends.engines.recent import Recent


def test_the_value_used_longest_ago_is_forgotten() -> None:
    recent: Recent[str, int] = Recent(2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert ("a" in recent, "b" in recent, "c" in recent) == (True, False, True)
    assert recent.get("b") is None


def test_a_size_of_0_remembers_nothing() -> None:
    recent: Recent[str, int] = Recent(0)
    recent.put("a", 1)
    assert len(recent) == 0


def test_a_cleared_memory_is_empty() -> None:
    recent: Recent[str, int] = Recent(2)
    recent.put("a", 1)
    recent.clear()
    assert "a" not in recent


def test_threads_share_one_memory_within_its_bound() -> None:
    recent: Recent[int, int] = Recent(8)
    wrong: list[int] = []

    def use(seed: int) -> None:
        for number in range(2000):
            key = (seed * 7 + number) % 20
            recent.put(key, key)
            wrong.extend(k for k in range(20) if recent.get(k) not in (None, k))
            if len(recent) > 8:
                wrong.append(-1)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(recent) == 8
