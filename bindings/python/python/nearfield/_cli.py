"""The command `nearfield`: the program itself, which is compiled into the extension module, and `nearfield migrate`,
which is Python.

The program reads the arguments, prints and returns the exit code as it does without Python; it needs no NumPy.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from nearfield import _nearfield

_module: Any = _nearfield


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what `arguments` say, by default those of this process; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = [word for word in given if word != "--json"]
    if words[:1] == ["migrate"]:
        # For all commands alike, `--json` may stand anywhere.
        return _migrate(words[1:2] + ["--json"] * (len(words) < len(given)) + words[2:])
    # As in a program without Python: Ctrl-C ends it at once, unless the command stops by itself. What a shell starts in
    # the background ignores it, and goes on to.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    code: int = _module._run_command_line(given)
    return code


def _migrate(arguments: list[str]) -> int:
    from nearfield.migrate.__main__ import main as migrate

    try:
        try:
            return migrate(arguments, program="nearfield migrate")
        finally:
            # What argparse prints too is written here, where it may fail.
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever reads has seen enough; Python would try again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
