"""
One thread for NumPy's matrix products while an engine runs, without a trace afterwards.

How many threads BLAS uses is a number of the whole process, so whoever is first inside lowers it
and whoever leaves last puts it back; nothing is written into the environment. OpenMP's number is
each thread's own and is limited where OpenMP is used (`e5.py`).
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy  # noqa: F401  (its BLAS must be loaded to be found)
from threadpoolctl import ThreadpoolController

_blas = ThreadpoolController().select(user_api="blas")
_lock = threading.Lock()
_inside = 0
_limited: Any = None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """A second thread would gain a tenth on an idle machine, and lose a half on a busy one."""
    global _inside, _limited
    with _lock:
        if _inside == 0:
            _limited = _blas.limit(limits=1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _limited.restore_original_limits()
