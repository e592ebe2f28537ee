"""Child processes of the hard tests: forked from a parent that opens no database, heard through pipes, killed, waited for.

The journal of acknowledged rounds is what the parent read from a pipe: it outlives whatever happens to a writer.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import select
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

# Threads of numpy would have to survive forks.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

# A child that does not end by then hangs; a machine may be busy.
PATIENCE = 1_800
RECORD = struct.Struct("<cBHI")
OPENED, STARTED, ENDED, FULL = b"o", b"s", b"e", b"f"


class Fault(Exception):
    """A child ended as it must not, with what it said."""


class Child:
    """A forked process that runs a function; what it tells goes through a pipe, and so does what it raises."""

    def __init__(self, function: Callable[..., object], *arguments: Any):
        self.heard, tell = os.pipe()
        self.answered, answer = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.heard)
            os.close(self.answered)
            self.be(function, arguments, tell, answer)
        os.close(tell)
        os.close(answer)
        os.set_blocking(self.heard, False)
        self.status: int | None = None
        self.rest = b""

    def be(self, function: Callable[..., object], arguments: tuple, tell: int, answer: int) -> NoReturn:
        code = 3
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            # Children go with their parent.
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
            result = function(Teller(tell), *arguments)
            os.write(answer, json.dumps({"result": result}).encode())
            code = 0
        except BaseException:
            os.write(answer, json.dumps({"error": traceback.format_exc()[-3_500:]}).encode())
        finally:
            os._exit(code)

    def hear(self, seconds: float) -> list[tuple[bytes, int, int]]:
        """What the child told since, waiting at most so long for anything; None in it says that it ended."""
        ready, _, _ = select.select([self.heard], [], [], max(seconds, 0))
        if not ready:
            return []
        self.rest += os.read(self.heard, 1 << 16)
        whole = len(self.rest) // RECORD.size * RECORD.size
        records = [(kind, op, number) for kind, op, _, number in RECORD.iter_unpack(self.rest[:whole])]
        self.rest = self.rest[whole:]
        return records

    def hear_all(self) -> list[tuple[bytes, int, int]]:
        """Everything that a child which has ended told."""
        records = []
        while more := self.hear(0):
            records += more
        return records

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Kills the child, and fails if it had ended by itself."""
        os.kill(self.pid, number)
        _, self.status = os.waitpid(self.pid, 0)
        if not os.WIFSIGNALED(self.status) or os.WTERMSIG(self.status) != number:
            raise Fault(self.fault())

    def has_ended(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is not None

    def result(self, patience: float = PATIENCE) -> Any:
        """What the function returned, once the child has ended."""
        end = time.monotonic() + patience
        while not self.has_ended():
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                self.status = 0
                raise Fault(f"a child did not end within {patience} s")
            select.select([self.answered], [], [], 0.05)
        if self.status:
            raise Fault(self.fault())
        answer = os.read(self.answered, 1 << 16)
        return json.loads(answer)["result"]

    def fault(self) -> str:
        assert self.status is not None
        os.set_blocking(self.answered, False)
        try:
            said = json.loads(os.read(self.answered, 1 << 16) or b"{}").get("error", "")
        except BlockingIOError:
            said = ""
        return f"a child ended with {os.waitstatus_to_exitcode(self.status)}\n{said}"

    def close(self) -> None:
        if not self.has_ended():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.heard)
        os.close(self.answered)


class Teller:
    """The child's end of the pipe."""

    def __init__(self, pipe: int):
        self.pipe = pipe

    def __call__(self, kind: bytes, op: int = 0, number: int = 0) -> None:
        # Less than a pipe takes at once: a record is there whole or not at all.
        os.write(self.pipe, RECORD.pack(kind, op, 0, number))


class Shared:
    """Numbers that all children see, and that no kill takes away."""

    DURABLE, STARTED, STOP, REFRESHES, STATES, FRESH = range(6)

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, mmap.PAGESIZE)
        self.numbers = np.frombuffer(self.memory, np.int64)

    def __getitem__(self, which: int) -> int:
        return int(self.numbers[which])

    def __setitem__(self, which: int, number: int) -> None:
        self.numbers[which] = number


def can_fork() -> bool:
    return hasattr(os, "fork") and sys.platform == "linux"
