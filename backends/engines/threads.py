"""
One thread for NumPy's matrix products while an engine runs, without a trace afterwards.

How many threads BLAS uses is a number of the whole process, so whoever is first inside lowers it
and whoever leaves last puts it back; nothing is written into the environment. OpenMP's number is
each thread's own and is limited where OpenMP is used (`e5.py`).
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy  # noqa: F401  (its BLAS must be loaded to be found)
from threadpoolctl import OpenBLASController, ThreadpoolController

_libraries = ThreadpoolController().select(user_api="blas").lib_controllers
_lock = threading.Lock()
_inside = 0
_before: Sequence[int] = ()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """A second thread would gain a tenth on an idle machine, and lose a half on a busy one."""
    global _inside, _before
    with _lock:
        if _inside == 0:
            _before = [library.num_threads for library in _libraries]
            _set([1] * len(_before))
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _set(_before)


def _set(threads: Sequence[int]) -> None:
    """
    Under our lock. threadpoolctl lets only the thread that set the number first set it again and
    ignores all others; here the last to leave is often another, so nobody may stay the owner.
    """
    OpenBLASController.clear_controlling_thread(force=True)
    for library, number in zip(_libraries, threads, strict=True):
        library.set_num_threads(number)
    OpenBLASController.clear_controlling_thread(force=True)
