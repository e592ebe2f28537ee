"""Cuts the power of a drive while a process writes, and opens what is left. Root only.

    python power_cuts.py [--short] [--modes alone neighbour flush control] [--cuts N] [--seed N]

The database is in an ext4 file system on a drive of 64 MiB of our own making (see drive.py), which knows what was
written to it, in which order, and what it was told to keep. A writer acknowledges rounds through a pipe to a process
that is not on the drive. At a random moment the power is cut: between two requests to the drive, wherever that is in a
sync. In half of the cuts the drive keeps all that it was given, in the others it loses blocks of what no order to keep
followed. Then the file system is mounted anew and the database opened by another process, which compares it with what
was acknowledged; the next writer goes on from there.

alone       durability "sync": every acknowledged row is there
neighbour   as well, while another file on the same file system is synced every 50 ms, which commits names and sizes
flush       durability "buffered": every row acknowledged before the last flush or import is there
control     durability "buffered" and no flush: rows must be lost, or this program could not see a loss

Long: 100 cuts each, 30 with flush, 10 of control; short: 2 each. Ends with 1 after a violation.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from children import ENDED, PATIENCE, STARTED, Child, Fault, Shared, Teller
from disks import command, why_not
from drive import SYNCS, WRITES, Drive
from kills import Place, Tally, check, writer

import nearfield as nf
from rounds import BATCHES, FLUSHING, KINDS, UNFLUSHED, Rounds, Violation, collection

SIZE = 64 << 20
# Cuts that one file system lives for.
LIFE = 8
CUTS = {"alone": 100, "neighbour": 100, "flush": 30, "control": 10}


def neighbour(tell: Teller, path: Path) -> None:
    """Syncs an unrelated file all the time."""
    with path.open("wb") as file:
        while True:
            file.write(os.urandom(3_000))
            file.flush()
            os.fsync(file.fileno())
            tell(ENDED)
            time.sleep(0.05)


@dataclasses.dataclass
class Journal:
    """What a writer acknowledged, kept outside of its drive."""

    acknowledged: int
    durable: int
    begun: int

    def note(self, records: list[tuple[bytes, int, int]]) -> None:
        for kind, op, number in records:
            if kind == STARTED:
                self.begun = number + 1
            elif kind == ENDED:
                self.acknowledged = number
                if KINDS[op] in FLUSHING:
                    self.durable = number


class Cutter:
    def __init__(self, mode: str, drive: Drive, base: bytes, dice: random.Random, place: Path):
        self.mode, self.drive, self.base, self.dice = mode, drive, base, dice
        self.mounted, self.files = place / "mounted", place / "files"
        self.tally = Tally()
        self.cuts_with_loss = self.checked = 0
        # How long a round takes.
        self.mean = 0.005
        self.writes = self.syncs = 0
        self.begin()

    def begin(self) -> None:
        """Starts from the established rows."""
        self.drive.detach()
        self.drive.bytes[:] = self.base
        self.drive.mount(self.mounted)
        weights = UNFLUSHED if self.mode == "control" else BATCHES
        self.room = Place(self.mounted, self.files, Rounds(self.dice.getrandbits(32), weights))
        self.room.rounds.advance(1)
        self.room.hides_last = True
        self.room.hides_flushed = self.mode == "flush"
        if self.mode == "control":
            self.room.settings = {"memtable_bytes": 64 << 20, "compaction": False}

    def cut(self) -> None:
        """One writer, one cut, and what is there then."""
        room, tally, dice = self.room, self.tally, self.dice
        tally.cycles += 1
        journal = self.write_and_cut(room)
        self.drive.detach()
        self.drive.restart()
        self.drive.mount(self.mounted)
        first = room.rounds.head
        floor = {"flush": journal.durable, "control": first}.get(self.mode, journal.acknowledged)
        # The writer has gone on for a moment, to no effect.
        room.shared[Shared.DURABLE] = floor
        number, lost = check(room, floor, journal.acknowledged, journal.begun, dice, tally)
        tally.rounds += journal.acknowledged - first
        tally.unacknowledged += number > journal.acknowledged
        tally.lost += lost
        self.cuts_with_loss += lost > 0
        room.rounds.advance(number)

    def write_and_cut(self, room: Place) -> Journal:
        """What was acknowledged before the cut, and begun before or after it."""
        drive, dice, head = self.drive, self.dice, room.rounds.head
        drive.asked[WRITES] = drive.asked[SYNCS] = 0
        durability = "sync" if self.mode in ("alone", "neighbour") else "buffered"
        children = []
        try:
            if self.mode == "neighbour":
                children.append(Child(neighbour, room.path.with_name("unrelated")))
            child = Child(writer, room, durability, dice.getrandbits(32))
            children.append(child)
            journal = self.listen(child, Journal(head, head, head))
            drive.cut(dice.random() < 0.5, dice.getrandbits(32))
            for each in children:
                each.kill()
            after = dataclasses.replace(journal)
            after.note(child.hear_all())
            journal.begun = after.begun
        finally:
            for each in children:
                each.close()
        self.writes += drive.asked[WRITES]
        self.syncs += drive.asked[SYNCS]
        return journal

    def listen(self, child: Child, journal: Journal) -> Journal:
        """Hears a writer until some moment of one of its rounds, now and then one at which it still opens."""
        dice, begun = self.dice, time.monotonic()
        last = journal.begun + dice.randrange(40)
        end = begun + (dice.random() * 0.03 if dice.random() < 0.1 else PATIENCE)
        while (now := time.monotonic()) < end:
            before = journal.begun
            journal.note(child.hear(end - now))
            if journal.begun > before:
                now = time.monotonic()
                self.mean += 0.1 * ((now - begun) / (journal.begun - before) - self.mean)
                begun = now
                if journal.begun > last:
                    end = min(end, now + dice.random() * self.mean * 1.2)
            if child.has_ended():
                raise Fault(child.fault())
        journal.note(child.hear(0))
        return journal

    def look_over(self) -> None:
        """Whether the file system itself is whole, as it must be on a drive that does as it is told."""
        self.drive.detach()
        if shutil.which("e2fsck"):
            command("e2fsck", "-fn", self.drive.attach())
            self.checked += 1
        self.drive.detach()

    def report(self) -> str:
        tally, cuts = self.tally, max(self.tally.cycles, 1)
        lost = f"{tally.lost} of their rows lost in {self.cuts_with_loss} cuts"
        if self.mode == "flush":
            lost += ", all of them written after the last flush" if not tally.violations else ""
        return (
            f"{self.mode}: {tally.cycles} cuts in {time.monotonic() - tally.begun:.0f} s, {tally.rounds} rounds "
            f"acknowledged, {lost}; {tally.unopened} failures to open, "
            f"{len(tally.violations)} violations; {tally.unacknowledged} times the round under way was there, whole; "
            f"{self.writes // cuts} writes and {self.syncs // cuts} syncs of the drive a cut; "
            f"file system whole {self.checked} times"
        )


def established(drive: Drive, place: Path) -> bytes:
    """The bytes of a drive with a new file system and a database of the first round, closed."""
    command("mkfs.ext4", "-q", "-F", drive.attach())
    drive.detach()
    drive.mount(place / "mounted")
    room = Place(place / "mounted", place / "files", Rounds(0))
    child = Child(establish, room)
    try:
        child.result()
    finally:
        child.close()
    drive.detach()
    return bytes(drive.bytes)


def establish(tell: Teller, room: Place) -> None:
    with nf.open(room.path) as db:
        room.rounds.run(collection(db), room.rounds.plan(), room.files)


def prove(drive: Drive, place: Path) -> None:
    """That the drive has what was synced, and what was not only when it is."""
    mark = os.urandom(32)
    drive.mount(place / "mounted")
    file = os.open(place / "mounted" / "mark", os.O_CREAT | os.O_WRONLY)
    try:
        os.write(file, mark)
        early = mark in drive.bytes[:]
        os.fsync(file)
        late = mark in drive.bytes[:]
    finally:
        os.close(file)
        drive.detach()
    if early or not late:
        raise Fault("the drive does not have exactly what was synced")


def run(mode: str, cuts: int, drive: Drive, base: bytes, options: argparse.Namespace, place: Path) -> Cutter:
    cutter = Cutter(mode, drive, base, random.Random(f"{options.seed}/{mode}"), place)
    for n in range(cuts):
        if n and n % LIFE == 0:
            print(cutter.report(), flush=True)
            cutter.look_over()
            cutter.begin()
        try:
            cutter.cut()
        except (Fault, Violation) as fault:
            cutter.tally.violations.append(f"{mode}, seed {options.seed}, cut {n}: {fault}")
            print(cutter.tally.violations[-1], flush=True)
            kept = Path(tempfile.mkdtemp(prefix="nearfield-cut-")) / "image"
            kept.write_bytes(drive.frozen[:])
            print(f"the drive as it was after the cut is kept in {kept}", flush=True)
            cutter.begin()
    cutter.look_over()
    return cutter


def why_no_drive() -> str | None:
    """Why no file system can be served here, if so."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"/dev/fuse cannot be opened: {error}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="2 cuts of each mode, 5 of the control")
    parser.add_argument("--modes", nargs="+", choices=list(CUTS), default=list(CUTS))
    parser.add_argument("--cuts", type=int, help="of each mode")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    reason = why_not("ext4") or why_no_drive()
    if reason:
        print(f"skipped: {reason}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    failed = 0
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="nearfield-cuts-") as temporary:
        place = Path(temporary)
        (place / "files").mkdir()
        with Drive(place / "drive", SIZE) as drive:
            base = established(drive, place)
            prove(drive, place)
            for mode in options.modes:
                # Now and then a cut of the control takes nothing.
                cuts = options.cuts or ((5 if mode == "control" else 2) if options.short else CUTS[mode])
                cutter = run(mode, cuts, drive, base, options, place)
                print(cutter.report(), flush=True)
                if mode == "control" and not cutter.tally.lost:
                    print("control: no row was lost, so this program would not see it", flush=True)
                    failed += 1
                failed += len(cutter.tally.violations)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
