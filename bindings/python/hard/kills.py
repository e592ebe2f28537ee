"""Kills a writing process at random moments, and opens what it leaves.

    python kills.py [--cycles 1000] [--short] [--tmpfs] [--durability sync|buffered] [--seed N] [--within DIRECTORY]

Each cycle is a writer that is killed by SIGKILL: while it opens, writes, flushes, compacts, imports or forgets. Another process
then opens the database and finds all that was acknowledged, a prefix of the rounds, and no problem. A third follows as
a reader all the while, sees whole rounds only and never goes back. With `--tmpfs` (root only) the writer is on a disk
of 12 MB that is full time and again. Long: 1,000 cycles; short: 8. Ends with 1 after a violation, of which the
database is kept.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from children import ENDED, FULL, OPENED, PATIENCE, STARTED, Child, Fault, Shared, Teller, can_fork

from disks import Tmpfs, why_not

import nearfield as nf
from rounds import (
    FLUSHING, HEAVY, KINDS, MIXED, NOTHING, WITHOUT_FORGET, Rounds, Rows, Violation, check_files, check_searches,
    collection, observe, settings,
)  # fmt: skip

# Cycles that one database lives for.
LIFE = 50
SIZE = 12 << 20
FOR_EVER = float("inf")


def writer(tell: Teller, place: Place, durability: str, seed: int) -> None:
    """Opens the database and does rounds for ever."""
    rounds, shared, dice = place.rounds, place.shared, random.Random(seed)
    db = nf.open(place.path, durability=durability, **(settings(dice) | place.settings))
    docs = patiently(lambda: collection(db), tell, rounds.head == 0)
    tell(OPENED)
    while True:
        todo = rounds.plan()
        shared[Shared.STARTED] = rounds.head + 1
        tell(STARTED, KINDS.index(todo.kind), rounds.head)
        try:
            rounds.run(docs, todo, place.files)
        except nf.Full as error:
            if not place.may_be_full or "no space left for" not in str(error):
                raise
            tell(FULL, KINDS.index(todo.kind), rounds.head)
            # Nothing of it is seen, and what is there is read.
            check_searches(docs, rounds.rows, dice)
            time.sleep(0.002)
            continue
        rounds.apply(todo)
        if durability == "sync" or todo.kind in FLUSHING:
            shared[Shared.DURABLE] = rounds.head
        tell(ENDED, KINDS.index(todo.kind), rounds.head)


def patiently(attempt: Callable[[], nf.Collection], tell: Teller, may_fail: bool) -> nf.Collection:
    """Creating a collection may need space; opening one may not."""
    while True:
        try:
            return attempt()
        except nf.Full:
            if not may_fail:
                raise
            tell(FULL)
            time.sleep(0.002)


def checker(tell: Teller, place: Place, floor: int, acknowledged: int, last: int, seed: int) -> list[int]:
    """Opens what a writer left. Returns how many rounds are there, and how many acknowledged rows are not.

    Rounds below `floor` must be there, and none from `last` on.
    """
    rounds, shared, dice = place.rounds, place.shared, random.Random(seed)
    rounds.advance(acknowledged)
    read = look(place.path) if dice.random() < 0.3 else None
    db = nf.open(place.path, **settings(dice))
    if "docs" not in db and floor == 0:
        return [0, len(rounds.rows)]
    docs = db["docs"]
    seen = observe(docs)
    lost, told = rounds.lost(seen), rounds.differences(seen)
    number = rounds.number(seen, floor, last)
    if number is None:
        where = rounds.fresh().number(seen, 0, last + 20)
        raise Violation(f"LOST {lost} rows: not what {floor} to {last} rounds leave, but what {where} do: {told}")
    check_searches(docs, seen.rows, dice)
    check_files(docs)
    durable = min(shared[Shared.DURABLE], number)
    if place.hides_last:
        durable = 0 if place.hides_flushed else rounds.before(durable)
    if read is not None and rounds.number(read, durable, number) is None:
        where = rounds.fresh().number(read, 0, last)
        raise Violation(
            f"a reader before the first opening saw what {where} rounds leave, not what {durable} to {number} do"
        )
    try:
        db.close()
    except nf.Full:
        # What only shortens the next opening may find no room.
        if not place.may_be_full:
            raise
    return [number, lost if number < acknowledged else 0]


def look(path: Path) -> Rows:
    """What a fresh reader sees."""
    docs = fresh_reader(path)
    return NOTHING if docs is None else observe(docs)


def reader(tell: Teller, place: Place, seed: int) -> int:
    """Follows the writers until it is told to stop."""
    rounds, shared, dice = place.rounds, place.shared, random.Random(seed)
    last = 0
    docs: nf.Collection | None = None
    while not shared[Shared.STOP]:
        time.sleep(dice.random() * 0.02)
        durable = shared[Shared.DURABLE]
        fresh = docs is None or dice.random() < 0.1
        if docs is None or fresh:
            docs = fresh_reader(place.path)
            shared[Shared.FRESH] += 1
            if docs is None:
                if durable > 0:
                    raise Violation(f"a reader finds nothing after {durable} rounds")
                continue
        else:
            docs.refresh()
        seen = observe(docs)
        number = rounds.number(seen, max(last, durable), shared[Shared.STARTED])
        if number is None:
            where = rounds.fresh().number(seen, 0, rounds.head)
            raise Violation(
                f"a reader, {'fresh' if fresh else 'following'}, saw what {where} rounds leave; it had seen {last} before, "
                f"{durable} were durable, {shared[Shared.STARTED]} begun; {rounds.differences(seen)}"
            )
        shared[Shared.STATES] += number > last
        shared[Shared.REFRESHES] += 1
        last = number
        if dice.random() < 0.1:
            check_searches(docs, seen.rows, dice)
        if dice.random() < 0.05:
            check_files(docs)
    return last


def fresh_reader(path: Path) -> nf.Collection | None:
    """The collection as a process opens it that only reads, if it is there yet."""
    if not (path / "LOCK").exists():
        return None
    db = nf.open(path, mode="r")
    return db["docs"] if "docs" in db else None


class Place:
    """A database, from its creation to its last cycle, and what is known of it."""

    def __init__(self, directory: Path, files: Path, rounds: Rounds, may_be_full: bool = False):
        self.path, self.files, self.may_be_full = directory / "hard.nf", files, may_be_full
        self.ballast = directory / "ballast"
        self.rounds = rounds
        # Readers know that a write is durable from what is written after it, so that a power cut hides the last one
        # from them until the next writer opens the database.
        self.hides_last = False
        # The same of a flush: what it made durable is known to be so from what is written after it.
        self.hides_flushed = False
        # Of writers, in place of those that are drawn.
        self.settings: dict[str, Any] = {}
        self.shared = Shared()
        self.reader: Child | None = None

    def fill(self, left: int) -> None:
        """Leaves so many bytes on the disk, or fewer."""
        free = shutil.disk_usage(self.path.parent).free
        with contextlib.suppress(OSError), self.ballast.open("ab") as file:
            file.write(bytes(max(free - left, 0)))

    def relieve(self) -> None:
        self.ballast.unlink(missing_ok=True)

    def start_reader(self, seed: int) -> None:
        self.stop_reader()
        self.shared[Shared.STOP] = 0
        self.reader = Child(reader, self, seed)

    def stop_reader(self) -> None:
        """Ends the reader; raises what it found."""
        if self.reader is not None:
            child, self.reader = self.reader, None
            self.shared[Shared.STOP] = 1
            try:
                child.result()
            finally:
                child.close()

    def close(self) -> None:
        if self.reader is not None:
            self.reader.close()
            self.reader = None


class Tally:
    def __init__(self) -> None:
        self.cycles = self.rounds = self.lost = self.unopened = 0
        self.kills: collections.Counter[str] = collections.Counter()
        self.full: collections.Counter[str] = collections.Counter()
        self.refreshes = self.states = self.fresh = 0
        self.unacknowledged = 0
        self.violations: list[str] = []
        self.begun = time.monotonic()

    def report(self) -> str:
        seconds = time.monotonic() - self.begun
        where = ", ".join(f"{kind} {count}" for kind, count in self.kills.most_common())
        full = ", ".join(f"{kind} {count}" for kind, count in self.full.most_common())
        return (
            f"{self.cycles} cycles in {seconds:.0f} s, {self.rounds} rounds acknowledged, {self.lost} rows lost, "
            f"{self.unopened} failures to open, {len(self.violations)} violations\n"
            f"killed during: {where}; {self.unacknowledged} times the round under way was there, whole\n"
            f"readers: {self.refreshes} looks, {self.fresh} of them by fresh ones, {self.states} new states"
            + (f"\nrefused as full: {full}" if full else "")
        )


class Durations:
    """How long rounds of each kind take, to kill in the middle of them."""

    def __init__(self) -> None:
        self.mean = dict.fromkeys(KINDS, 0.005)

    def learn(self, kind: str, seconds: float) -> None:
        self.mean[kind] += 0.2 * (seconds - self.mean[kind])


def run_and_kill(place: Place, durability: str, dice: random.Random, durations: Durations, tally: Tally) -> int:
    """One writer from birth to death. Returns how many rounds are acknowledged."""
    first = acknowledged = place.rounds.head
    child = Child(writer, place, durability, dice.getrandbits(32))
    try:
        doing, begun = "opening", time.monotonic()
        # It dies in the middle of some round, or of one that takes long.
        prey = dice.choice(HEAVY) if dice.random() < 0.6 else None
        spared, most = dice.randrange(3), dice.randrange(16) if prey is None else 40
        early = dice.random() < 0.12
        refused, patience = 0, begun + PATIENCE
        end = begun + dice.random() * 0.03 if early else patience
        # When the disk is to be filled, and when there is to be room again.
        fill_at = begun + dice.random() * 0.15 if place.may_be_full else FOR_EVER
        relieve_at = fill_at + dice.random() * 0.1 if dice.random() < 0.5 else FOR_EVER
        while (now := time.monotonic()) < end:
            for kind, op, number in child.hear(min(end, fill_at, relieve_at) - now):
                now = time.monotonic()
                if kind == STARTED:
                    doing, begun = KINDS[op], now
                    spared -= doing == prey
                    if not early and (spared < 0 or number >= first + most):
                        end = min(end, now + dice.random() * durations.mean[doing] * 1.2)
                elif kind == ENDED:
                    durations.learn(doing, now - begun)
                    doing, acknowledged = "nothing", number
                elif kind == FULL:
                    tally.full[doing] += 1
                    refused += 1
                    if refused > most and relieve_at == FOR_EVER:
                        end = min(end, now)
                elif kind == OPENED:
                    doing = "nothing"
            if child.has_ended():
                raise Fault(child.fault())
            if now >= fill_at:
                place.fill(dice.choice([0, 50_000, 400_000]))
                fill_at = FOR_EVER
            if now >= relieve_at:
                place.relieve()
                relieve_at = FOR_EVER
        if end == patience:
            raise Fault(f"a writer did not open and do {most} rounds within {PATIENCE} s")
        child.kill()
        for kind, op, number in child.hear_all():
            if kind == STARTED:
                doing = KINDS[op]
            elif kind == ENDED:
                doing, acknowledged = "nothing", number
            elif kind == OPENED:
                doing = "nothing"
    finally:
        child.close()
    tally.kills[doing] += 1
    tally.rounds += acknowledged - first
    return acknowledged


def cycle(place: Place, durability: str, dice: random.Random, durations: Durations, tally: Tally) -> None:
    acknowledged = run_and_kill(place, durability, dice, durations, tally)
    number, _ = check(place, acknowledged, acknowledged, acknowledged + 1, dice, tally)
    tally.unacknowledged += number > acknowledged
    place.rounds.advance(number)
    if dice.random() < 0.5:
        place.relieve()
    if place.reader is not None and place.reader.has_ended():
        place.stop_reader()


def check(place: Place, floor: int, acknowledged: int, last: int, dice: random.Random, tally: Tally) -> list[int]:
    """Has another process open the database; raises what it finds."""
    child = Child(checker, place, floor, acknowledged, last, dice.getrandbits(32))
    try:
        return child.result()
    except Fault as fault:
        said = str(fault)
        if lost := re.search(r"LOST (\d+) rows", said):
            tally.lost += int(lost[1])
        elif "Violation" not in said:
            tally.unopened += 1
        raise
    finally:
        child.close()


def live(options: argparse.Namespace, directory: Path, seed: int, cycles: int, tally: Tally, durations: Durations) -> bool:
    """The life of one database. Returns whether nothing was wrong."""
    dice = random.Random(seed)
    weights = WITHOUT_FORGET if options.tmpfs else MIXED
    with tempfile.TemporaryDirectory() as files:
        place = Place(directory, Path(files), Rounds(seed, weights), options.tmpfs)
        try:
            for n in range(cycles):
                if n % 10 == 0:
                    place.start_reader(seed + n)
                durability = options.durability or dice.choice(["sync", "buffered"])
                tally.cycles += 1
                cycle(place, durability, dice, durations, tally)
            place.stop_reader()
        except (Fault, Violation) as fault:
            tally.violations.append(f"seed {seed}, cycle {n}: {fault}")
            print(tally.violations[-1], flush=True)
            return False
        finally:
            place.close()
            tally.refreshes += place.shared[Shared.REFRESHES]
            tally.states += place.shared[Shared.STATES]
            tally.fresh += place.shared[Shared.FRESH]
    return True


def run(options: argparse.Namespace) -> Tally:
    tally, durations = Tally(), Durations()
    seed = options.seed
    while tally.cycles < options.cycles:
        directory = Path(tempfile.mkdtemp(prefix="nearfield-kills-", dir=options.within))
        try:
            with contextlib.ExitStack() as stack:
                place = stack.enter_context(Tmpfs(directory / "disk", SIZE)).path if options.tmpfs else directory
                whole = live(options, place, seed, min(LIFE, options.cycles - tally.cycles), tally, durations)
                if not whole:
                    kept = directory.with_name(directory.name + "-kept")
                    shutil.copytree(place, kept)
                    print(f"kept in {kept}", flush=True)
        finally:
            shutil.rmtree(directory)
        seed += 1_000
        if not options.short:
            print(tally.report(), flush=True)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=1_000)
    parser.add_argument("--short", action="store_true", help="8 cycles")
    parser.add_argument("--tmpfs", action="store_true", help="on a small disk that fills up; root only")
    parser.add_argument("--durability", choices=["sync", "buffered"], help="one of them; both in turns if left out")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--within", type=Path, help="directory for the databases; that of temporary files if left out")
    options = parser.parse_args()
    if not can_fork():
        print("skipped: kills are for Linux")
        return 0
    if options.tmpfs:
        if reason := why_not("tmpfs"):
            print(f"skipped: {reason}")
            return 0
    if options.short:
        options.cycles = min(options.cycles, 8)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"seed {options.seed}", flush=True)
    tally = run(options)
    print(tally.report())
    return 1 if tally.violations else 0


if __name__ == "__main__":
    sys.exit(main())
