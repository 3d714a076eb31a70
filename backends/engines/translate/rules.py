"""
Apertium: translation by rules, a program of its own.

Reached only by subprocess: it is GPL, and optional. Absent is normal; then no mode is installed.
Every call has a time limit and a small environment of its own. Debian's packages are
apertium-es-pt, apertium-por-cat, apertium-spa-cat, apertium-fra-cat and apertium-cat-ita.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import partial

from backends.engines.translate.careful import Step
from backends.engines.translate.spans import Span
from backends.errors import TimedOut, Unavailable

PROGRAM = "apertium"
PATIENCE = 60.0  # seconds a call may take; 4,000 characters took 2 on a busy core

# (from, to): Apertium's name for it. Portuguese is European here: the Brazilian modes scored
# three points less, also on the way to English.
MODES: Mapping[tuple[str, str], str] = {
    ("pt", "es"): "pt-es",
    ("es", "pt"): "es-pt",
    ("pt", "ca"): "por-cat",
    ("ca", "pt"): "cat-por",
    ("es", "ca"): "spa-cat",
    ("ca", "es"): "cat-spa",
    ("ca", "fr"): "cat-fra",
    ("fr", "ca"): "fra-cat",
    ("ca", "it"): "cat-ita",
    ("it", "ca"): "ita-cat",
}

_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


def installed(program: str = PROGRAM) -> frozenset[str]:
    """The modes that the program lists; none where there is no program."""
    path = shutil.which(program)
    if path is None:
        return frozenset()
    return frozenset(_answer([path, "-l"], "", 10.0).split())


def steps(modes: frozenset[str], program: str = PROGRAM) -> list[Step]:
    """One step for each of our pairs whose mode is installed."""
    return [
        Step(source, target, "rules", partial(translate, mode, program=program), _reads_all)
        for (source, target), mode in MODES.items()
        if mode in modes
    ]


def translate(
    mode: str,
    sentences: Sequence[str],
    marks: bool,
    *,
    program: str = PROGRAM,
    patience: float = PATIENCE,
) -> list[str]:
    """
    All sentences in one call, a blank line between; none may be blank or hold a newline. Where the
    count comes back wrong, each is sent by itself, and is "" if that went wrong too.
    """
    path = shutil.which(program)
    if path is None:
        raise Unavailable(f"The program {program} is no longer installed.")
    command = [path, mode] if marks else [path, "-u", mode]
    answers = _lines(command, sentences, patience)
    if len(answers) == len(sentences):
        return answers
    alone = [_lines(command, [each], patience) for each in sentences]
    return [lines[0] if len(lines) == 1 else "" for lines in alone]


def _lines(command: Sequence[str], sentences: Sequence[str], patience: float) -> list[str]:
    answer = _answer(command, "\n\n".join(sentences) + "\n", patience)
    return [line.strip() for line in answer.split("\n") if line.strip()]


def _answer(command: Sequence[str], given: str, patience: float) -> str:
    """What the program prints. It is a pipeline of others, which end with it when time is up."""
    try:
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            env=_ENVIRONMENT,
            start_new_session=True,
        ) as process:
            try:
                answer, _ = process.communicate(given, timeout=patience)
            except subprocess.TimeoutExpired as error:
                os.killpg(process.pid, signal.SIGKILL)
                raise TimedOut(f"Apertium took longer than {patience:g} seconds.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable("Apertium could not be run.") from error
    if process.returncode:
        raise Unavailable(f"Apertium failed at {' '.join(command[1:])}.")
    return answer


def _reads_all(_sentence: str) -> list[Span]:
    return []
