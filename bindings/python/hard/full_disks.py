"""Fills small disks to the last byte, and goes on. Root only.

    python full_disks.py [--short] [--sizes 1 2 3 …] [--seed N]

For each size in MiB a disk in memory of its own: a writer fills it with rows of texts and vectors, by writes, updates,
deletes, imports and compactions, until not even one row fits. Then it tries everything there is to do. Each call
either does it or raises `Full`, says for which file, and leaves all as it was; reads and searches answer as ever. Another process
reads on the full disk, and on every second one the writer is killed and another opens the database. The disk is then
enlarged, and the process that met the full one goes on: every call succeeds, nothing acknowledged is lost.

Long: the sizes 1 to 64; short: 1 and 3. Ends with 1 after a violation.
"""

from __future__ import annotations

import argparse
import collections
import pickle
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from children import FULL, PATIENCE, Child, Fault, Shared, Teller
from disks import Tmpfs, why_not

import nearfield as nf
import numpy as np
from rounds import Violation, check_files

MIB = 1 << 20
DIM = 64
BODY = 3_000
# What the parent and a writer tell each other by a shared number.
STAGE = Shared.STOP
FILLING, IS_FULL, ENLARGED = range(3)
# Which version of each row was acknowledged.
Ledger = dict[int, int]


def vectors(ids: list[int], version: list[int] | int) -> np.ndarray:
    own, versions = np.asarray(ids), np.broadcast_to(np.asarray(version), len(ids))
    rows = ((own[:, None] * (np.arange(DIM) * 5 + 3) + versions[:, None] * 11) % 127).astype(np.float32)
    rows[:, 0], rows[:, 1] = own, versions
    return rows


def data(ids: list[int], version: int) -> dict[str, list]:
    bodies = [random.Random(id * 1_000_003 + version).randbytes(BODY // 2).hex() for id in ids]
    return {"version": [version] * len(ids), "title": [f"title{id}" for id in ids], "body": bodies}


class Writer:
    """A process that writes, and knows what is there."""

    def __init__(self, room: Room, seed: int):
        self.room, self.dice = room, random.Random(seed)
        # What would be there if one of the calls that failed since the last one that did not had stored something.
        self.doubts: list[Ledger] = []
        # By stage, call and what came of it.
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.stage = "filling"
        self.know({})

    def know(self, ledger: Ledger) -> None:
        self.ledger = ledger
        # Neither versions nor ids are used again.
        self.version = max(ledger.values(), default=0) + 1_000
        self.next = max(ledger, default=-1) + 1_000

    def open(self, durability: str = "sync") -> None:
        room = self.room
        settings = {"memtable_bytes": max(room.size // 8, 64 << 10), "graph_bytes": 256 << 10, "m": 8, "ef_construction": 24}
        self.db = nf.open(room.path, durability=durability, **settings)
        columns = {"version": int, "title": str, "body": str}
        self.docs = self.db.collection("docs", DIM, "l2", columns=columns, text="title", id_type=int)

    def attempt(self, name: str, call: Callable[[], Any], after: Ledger) -> bool:
        """Whether it was done. If not, nothing of it is there."""
        try:
            call()
        except nf.Full as error:
            if "no space left for" not in str(error) or "free space and try again" not in str(error):
                raise Violation(f"{name} fails with: {error}") from error
            self.outcomes[f"{name}, {self.stage}, refused"] += 1
            self.doubts.append(after)
            self.glance(name)
            return False
        self.outcomes[f"{name}, {self.stage}, done"] += 1
        self.ledger, self.doubts = after, []
        return True

    def new_ids(self, count: int) -> list[int]:
        self.next += count
        return list(range(self.next - count, self.next))

    def some(self, count: int) -> list[int]:
        return self.dice.sample(list(self.ledger), min(count, len(self.ledger)))

    def upsert(self, count: int) -> bool:
        self.version += 1
        ids = self.some(count // 4) + self.new_ids(count - count // 4)
        rows = vectors(ids, self.version), data(ids, self.version)
        return self.attempt("upsert", lambda: self.docs.upsert(ids, *rows), self.ledger | dict.fromkeys(ids, self.version))

    def others(self) -> list[Callable[[], bool]]:
        """Every other call that changes something."""
        docs = self.docs

        def without(ids: list[int]) -> Ledger:
            return {id: version for id, version in self.ledger.items() if id not in set(ids)}

        def add() -> bool:
            ids = self.new_ids(50)
            self.version += 1
            after = self.ledger | dict.fromkeys(ids, self.version)
            return self.attempt("add", lambda: docs.add(ids, vectors(ids, self.version), data(ids, self.version)), after)

        def update() -> bool:
            ids = self.some(20)
            return self.attempt("update", lambda: docs.update(ids, {"title": [f"title{id}" for id in ids]}), self.ledger)

        def import_batches() -> bool:
            parts = [self.new_ids(40) for _ in range(3)]
            self.version += 1
            batches = [(ids, vectors(ids, self.version), data(ids, self.version)) for ids in parts]
            after = self.ledger | {id: self.version for ids in parts for id in ids}
            return self.attempt("import batches", lambda: docs.import_batches(batches), after)

        def import_npy() -> bool:
            # Rows are numbered from 0 on.
            ids = list(range(50))
            self.version += 1
            np.save(self.room.files / "rows.npy", vectors(ids, self.version))
            after = self.ledger | dict.fromkeys(ids, self.version)
            return self.attempt("import npy", lambda: self.db.import_file("docs", self.room.files / "rows.npy"), after)

        def delete_one() -> bool:
            ids = self.some(1)
            return self.attempt("delete of a row", lambda: docs.delete(ids), without(ids))

        def delete_many() -> bool:
            ids = self.some(max(len(self.ledger) // 10, 1))
            return self.attempt("delete of a tenth", lambda: docs.delete(ids), without(ids))

        def delete_where() -> bool:
            top = sorted(self.ledger)[-10:]
            return self.attempt("delete where", lambda: docs.delete(where=f"id >= {top[0]}"), without(top)) if top else True

        def create() -> bool:
            name = f"other{len(self.outcomes)}x{self.version}"
            return self.attempt("create", lambda: self.db.create(name, dim=4), self.ledger)

        def add_columns() -> bool:
            return self.attempt("add columns", lambda: docs.add_columns({f"c{self.dice.getrandbits(32)}": int}), self.ledger)

        return [
            add, update, import_batches, import_npy, delete_one, delete_where, create, add_columns, delete_many,
            lambda: self.attempt("flush", docs.flush, self.ledger),
            lambda: self.attempt("compact", docs.compact, self.ledger),
        ]  # fmt: skip

    def fill(self) -> None:
        """Writes until not even a row fits."""
        most = count = max(self.room.size // (BODY + 4 * DIM) // 24, 4)
        steps, refused = 0, 0
        while refused < 3:
            steps += 1
            if steps % 5 == 0:
                self.dice.choice(self.others())()
            elif self.upsert(count):
                # Merges may have made room.
                refused, count = 0, min(2 * count, most)
            elif count > 1:
                count = count // 2
            else:
                refused += 1

    def glance(self, name: str) -> None:
        """After a failure: as many rows as before, found as before."""
        docs = self.docs
        if docs.count() != len(self.ledger):
            raise Violation(f"after {name} was refused there are {docs.count()} rows, not {len(self.ledger)}")
        for id in self.some(2):
            hit = docs.search(vectors([id], self.ledger[id])[0], k=1, exact=True)[0]
            if (hit.id, hit["version"]) not in ((id, self.ledger[id]), (id, None)):
                raise Violation(f"after {name} was refused row {id} of {self.ledger[id]} is {hit.to_dict()}")

    def go_on(self) -> None:
        """With room on the disk everything is done."""
        for _ in range(2):
            steps = [lambda: self.upsert(40), *self.others()]
            for step in steps:
                if not step():
                    raise Violation(f"there is room, and a call is refused: {dict(self.outcomes)}")
        check_rows(self.docs, [self.ledger])
        check_files(self.docs)

    def save(self) -> None:
        (self.room.files / "ledger").write_bytes(pickle.dumps([self.ledger, *self.doubts]))

    def wait(self, stage: int) -> None:
        while self.room.shared[STAGE] != stage:
            time.sleep(0.001)


class Room:
    def __init__(self, directory: Path, files: Path, size: int):
        self.path, self.files, self.size = directory / "full.nf", files, size
        self.shared = Shared()

    def ledgers(self) -> list[Ledger]:
        file = self.files / "ledger"
        return pickle.loads(file.read_bytes()) if file.exists() else [{}]


def check_rows(docs: nf.Collection, ledgers: list[Ledger]) -> Ledger:
    """Which of the ledgers is what a collection holds; it must be one of them."""
    found: Ledger = {}
    for records in docs.scan(select=["version", "title"], vectors=True):
        ids, rows = records.ids.tolist(), records.vectors
        versions = rows[:, 1].astype(int).tolist()
        if not np.array_equal(rows, vectors(ids, versions)):
            raise Violation("vectors are there that nobody wrote")
        for id, version, record in zip(ids, versions, records, strict=True):
            if record["version"] not in (version, None) or record["title"] not in (f"title{id}", None):
                raise Violation(f"row {id} of {version} is {record}")
        found |= zip(ids, versions, strict=True)
    if found not in ledgers:
        ledger = ledgers[0]
        lost = [id for id, version in ledger.items() if found.get(id) != version]
        more = [id for id in found if id not in ledger]
        raise Violation(f"LOST {len(lost)} rows of {len(ledger)} ({lost[:5]}), {len(more)} too many ({more[:5]})")
    some = random.Random(len(found)).sample(list(found), min(len(found), 20))
    for id, record in zip(some, docs.get(some), strict=True):
        if record["body"] is not None and record["body"] != data([id], found[id])["body"][0]:
            raise Violation(f"the text of row {id} is not what was written")
        if docs.search(vectors([id], found[id])[0], k=1, exact=True).ids.tolist() != [id]:
            raise Violation(f"an exact search does not find row {id}")
        docs.search(vectors([id], found[id])[0], k=5)
        if record["title"] is not None and docs.search(words=f"title{id}").ids.tolist() != [id]:
            raise Violation(f"a search by words does not find row {id}")
    return found


def fill(tell: Teller, room: Room, seed: int) -> dict[str, int]:
    """The first writer: meets the full disk, and goes on if it lives."""
    writer = Writer(room, seed)
    while True:
        try:
            writer.open()
            if room.shared[STAGE] == FILLING:
                writer.db.create("spare", DIM).add(range(50), vectors(list(range(50)), 1))
            break
        except nf.Full:
            # No room even for an empty collection.
            writer.outcomes["create, filling, refused"] += 1
            tell(FULL)
            writer.save()
            writer.wait(ENLARGED)
    if room.shared[STAGE] == FILLING:
        writer.fill()
        at_full(tell, writer)
    return end(writer)


def open_full(tell: Teller, room: Room, seed: int) -> dict[str, int]:
    """The second writer: opens the database on the full disk."""
    writer = Writer(room, seed)
    writer.open()
    writer.know(check_rows(writer.docs, room.ledgers()))
    at_full(tell, writer)
    return end(writer)


def at_full(tell: Teller, writer: Writer) -> None:
    """Everything is tried twice, and once there is a little room; then somebody else looks."""
    writer.stage = "full"
    for _ in range(3):
        for step in [*writer.others(), lambda: writer.upsert(1)]:
            step()
        if "spare" in writer.db:
            # Needs no space, and so must be done.
            writer.db.drop("spare")
            writer.outcomes["drop, full, done"] += 1
    check_rows(writer.docs, [writer.ledger])
    check_files(writer.docs)
    writer.save()
    tell(FULL)
    writer.wait(ENLARGED)


def end(writer: Writer) -> dict[str, int]:
    writer.stage = "enlarged"
    writer.go_on()
    writer.db.close()
    writer.save()
    return dict(writer.outcomes)


def read(tell: Teller, room: Room) -> None:
    """A reader on the full disk."""
    ledgers = room.ledgers()
    try:
        db = nf.open(room.path, mode="r")
        docs = db["docs"]
    except nf.NotFound:
        if ledgers != [{}]:
            raise
        return
    check_rows(docs, ledgers)
    check_files(docs)


def last_look(tell: Teller, room: Room) -> float:
    """Another process opens what was closed. Returns bytes on the disk for each byte of rows."""
    with nf.open(room.path) as db:
        ledger = check_rows(db["docs"], room.ledgers()[:1])
        check_files(db["docs"])
        db["docs"].compact()
    with nf.open(room.path) as db:
        check_rows(db["docs"], [ledger])
    used = sum(file.stat().st_size for file in room.path.rglob("*") if file.is_file())
    return used / (len(ledger) * (BODY + 4 * DIM))


def ask(function: Callable[..., Any], *arguments: Any) -> Any:
    child = Child(function, *arguments)
    try:
        return child.result()
    finally:
        child.close()


def await_full(child: Child, room: Room) -> None:
    end = time.monotonic() + PATIENCE
    while not any(kind == FULL for kind, _, _ in child.hear(0.05)):
        if child.has_ended():
            raise Fault(child.fault())
        if time.monotonic() > end:
            raise Fault(f"the disk was not full within {PATIENCE} s")


def try_size(size: int, seed: int, place: Path) -> tuple[dict[str, int], float]:
    files = place / f"files{size}"
    files.mkdir()
    with Tmpfs(place / f"disk{size}", size * MIB) as disk:
        room = Room(disk.path, files, size * MIB)
        child = Child(fill, room, seed)
        try:
            await_full(child, room)
            ask(read, room)
            told: dict[str, int] = {}
            if size % 2 and room.ledgers() != [{}]:
                child.kill()
                child.close()
                child = Child(open_full, room, seed + 1)
                await_full(child, room)
                ask(read, room)
            disk.resize((2 * size + 32) * MIB)
            room.shared[STAGE] = ENLARGED
            told = child.result()
        finally:
            child.close()
        return told, ask(last_look, room)


def table(outcomes: collections.Counter[str]) -> str:
    """How many calls of each kind were done and refused, while disks filled, when they were full and later."""
    stages = ("filling", "full", "enlarged")
    lines = [f"{'done / refused':20}" + "".join(f"{stage:>14}" for stage in stages)]
    for name in sorted({key.split(",")[0] for key in outcomes}):
        counts = [[outcomes[f"{name}, {stage}, {what}"] for what in ("done", "refused")] for stage in stages]
        lines.append(f"{name:20}" + "".join(f"{f'{done} / {refused}':>14}" for done, refused in counts))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="2 sizes")
    parser.add_argument("--sizes", type=int, nargs="+", help="in MiB")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    if reason := why_not("tmpfs"):
        print(f"skipped: {reason}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sizes = options.sizes or ([1, 3] if options.short else list(range(1, 65)))
    outcomes: collections.Counter[str] = collections.Counter()
    violations, worst, begun = [], 0.0, time.monotonic()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="nearfield-full-") as place:
        for size in sizes:
            try:
                told, ratio = try_size(size, options.seed + size, Path(place))
                outcomes.update(told)
                worst = max(worst, ratio)
                print(f"{size} MiB: {sum(told.values())} calls, {ratio:.2f} bytes on the disk for each of rows", flush=True)
            except (Fault, Violation) as fault:
                violations.append(f"{size} MiB, seed {options.seed}: {fault}")
                print(violations[-1], flush=True)
    print(
        f"{len(sizes)} sizes in {time.monotonic() - begun:.0f} s, {len(violations)} violations; "
        f"at most {worst:.2f} bytes on the disk for each byte of rows at the end"
    )
    print(table(outcomes))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
