"""
The process: a request, one line of JSON, on standard input; how far it is, as lines of JSON, on
standard output. It ends when its input is closed, so it never outlives the one who asked.
"""

import json
import os
import sys
import threading
from typing import Any

from backends.engines.hub import Failed, Request
from backends.engines.hub.fetch import fetch


def main() -> None:
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is not our protocol

    def write(**fact: Any) -> None:
        lines.write(json.dumps(fact) + "\n")

    asked = Request(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_leave_with_the_one_who_asked, daemon=True).start()
    try:
        fetch(asked, lambda done, total: write(done=done, total=total))
    except Failed as error:
        write(failed=str(error), zh=error.zh)
    except ModuleNotFoundError as error:
        write(
            failed=f"the library {error.name} is missing; `make models` installs it",
            zh=f"缺少库 {error.name}；可用 `make models` 安装",
        )
    else:
        write(fetched=True)


def _leave_with_the_one_who_asked() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)


main()
