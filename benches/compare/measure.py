"""The measurement: one process a peer, asked in turn.

Every peer builds its index in a process of its own and leaves it on disk. Fresh processes open it: once with the files
out of the page cache, then several times with them in it; the last of these stays and answers. Searches go round all
peers for one parameter after the other, again and again, so that whatever disturbs the machine disturbs all.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

import peers
import report
from libraries import K
from vectors import Set

ENOUGH = 0.998
"""No larger parameter is tried once this recall is reached."""
LITTLE = 0.80
"""Parameters with less recall are not measured again."""
BEHIND = 0.7
"""Nor those that reach less than this part of the speed that another one has at the same recall."""
SECONDS = 1.0
"""A measurement of a slow peer takes as many queries as fit into this."""
# Not LANCE_IO_THREADS: LanceDB waits for ever with one.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS",
                    "TOKIO_WORKER_THREADS", "LANCE_CPU_THREADS")  # fmt: skip


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class PeerError(Exception):
    """A peer that is not installed, or that failed."""


class Worker:
    """A process of worker.py."""

    def __init__(self, name: str, set_: Set, options, threads: int = 1) -> None:
        threads = str(threads)
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, threads), "PYTHONDONTWRITEBYTECODE": "1"}
        interpreter = options.python.get(name.split(":")[0].split("-")[0], sys.executable)
        program = [interpreter, str(Path(__file__).with_name("worker.py")), name]
        program += [str(set_.asked.shape[1]), set_.metric, threads]
        program += [] if set_.below is None else [str(set_.below)]
        log = None if options.verbose else subprocess.DEVNULL
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(program, stdin=pipe, stdout=pipe, stderr=log, env=environment)
        self.about = self.answer()[0]

    def answer(self) -> tuple[dict, np.ndarray | None]:
        line = self.process.stdout.readline()
        if not line:
            raise PeerError(f"its process ended with {self.process.wait()}; see why with --verbose")
        found = json.loads(line)
        if "missing" in found or "error" in found:
            self.close()
            raise PeerError(found.get("missing") or found["error"])
        count = found.pop("bytes")
        ids = np.frombuffer(self.process.stdout.read(count), np.int64).reshape(-1, K) if count else None
        return found, ids

    def ask(self, do: str, **arguments) -> tuple[dict, np.ndarray | None]:
        self.process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def disk_bytes(folder: Path) -> int:
    """What the files take: blocks that a file reserves but never wrote are not counted."""
    return sum(min(path.stat().st_size, path.stat().st_blocks * 512) for path in files(folder))


def forget(folder: Path) -> None:
    """Takes the files out of the page cache."""
    for path in files(folder):
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


class Run:
    """One peer: its index, its open process, and what was measured."""

    def __init__(self, name: str, set_: Set, options) -> None:
        self.name, self.set, self.options = name, set_, options
        rows = f"{set_.name}-{len(set_.stored)}" + ("" if set_.below is None else "-draw")
        self.folder = options.cache / rows / peers.SAME_INDEX.get(name, name).replace(":", "_")
        self.worker: Worker | None = None
        self.queries = str(set_.file("queries", set_.asked))
        self.points: list[dict] = []
        self.result: dict = {"points": self.points}

    def build(self) -> None:
        """Builds with one thread, unless the very same installation of the library already did."""
        worker = Worker(self.name, self.set, self.options)
        self.parameters = worker.about.pop("parameters")
        self.result.update(worker.about)
        note = self.folder / "build.json"
        same = {"version": worker.about["version"], "installation": worker.about["installation"]}
        if note.exists():
            known = json.loads(note.read_text())
            if known["same"] == same:
                self.result["build"] = known["build"]
                say(f"{self.name}: built before, in {known['build']['cpu']:.1f} s of processor")
                return worker.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "index").mkdir(parents=True)
        train = str(self.set.file("train", self.set.stored))
        built = worker.ask("build", train=train, folder=str(self.folder / "index"))[0]
        worker.close()
        self.result["build"] = built
        note.write_text(json.dumps({"same": same, "build": built}))
        say(f"{self.name}: built in {built['cpu']:.1f} s of processor")

    def open(self) -> None:
        """Opens cold once and warm some times; the last process stays."""
        index = self.folder / "index"
        self.result["disk_bytes"] = disk_bytes(index)
        times: dict[str, list[dict]] = {"cold": [], "warm": []}
        for attempt in range(1 + self.options.opens):
            if self.worker:
                self.worker.close()
            if attempt == 0:
                forget(index)
            self.worker = Worker(self.name, self.set, self.options, self.options.threads)
            opened = self.worker.ask("open", folder=str(index), queries=self.queries)[0]
            times["warm" if attempt else "cold"].append(opened)
        self.result["open"] = times

    def calibrate(self) -> None:
        """Tries the parameters from the cheapest on, for their recall; these times do not count."""
        rates: list[tuple[float, float]] = []
        for parameter in self.parameters:
            times, ids = self.search(parameter, len(self.set.asked))
            recall = self.set.recall(ids)
            cost = max(times["cpu"], times["wall"] if self.options.threads > 1 else 0) / len(ids)
            count = min(len(ids), max(50, int(SECONDS / max(cost, 1e-9))))
            self.points.append({"parameter": parameter, "recall": recall, "queries": count, "cpu": [], "wall": []})
            rates.append((recall, 1 / max(cost, 1e-9)))
            if recall >= ENOUGH:
                break
        best = max(point["recall"] for point in self.points)
        self.points[:] = [
            point
            for point, (recall, rate) in zip(self.points, rates)
            if recall >= min(LITTLE, best) and rate >= BEHIND * report.at_recall(rates, recall)
        ]
        say(f"{self.name}: recall {self.points[0]['recall']:.4f} to {best:.4f} at {len(self.points)} parameters")

    def search(self, parameter, count: int) -> tuple[dict, np.ndarray]:
        return self.worker.ask("search", parameter=parameter, count=count, single=self.options.single)

    def measure(self, number: int) -> None:
        """One round of the parameter with this number, if there is one."""
        if number < len(self.points):
            point = self.points[number]
            times = self.search(point["parameter"], point["queries"])[0]
            point["cpu"].append(times["cpu"])
            point["wall"].append(times["wall"])

    def latency(self) -> None:
        """One call a query, at the fastest parameter with a recall of 0.95."""
        clock = report.clock(self.options.threads)
        enough = [point for point in self.points if point["recall"] >= 0.95]
        if enough:
            point = min(enough, key=lambda p: statistics.median(p[clock]) / p["queries"])
            found = self.worker.ask("latency", parameter=point["parameter"], count=point["queries"])[0]
            kept = self.result.setdefault("latency", {"recall": point["recall"], "rounds": []})
            kept["rounds"].append(found)

    def finish(self) -> None:
        if self.worker:
            try:
                self.result["memory"] = self.worker.ask("memory")[0]
            except (PeerError, OSError):
                pass
            self.worker.close()
            self.worker = None


def run(set_: Set, options, keep) -> dict:
    """Measures all peers that are there, and says which are not; `keep` is given what there is after each round."""
    runs: list[Run] = []
    skipped: dict[str, str] = {}

    def each(step: str, *arguments) -> None:
        for one in list(runs):
            try:
                getattr(one, step)(*arguments)
            except (PeerError, OSError) as error:
                say(f"{one.name}: left out: {error}")
                skipped[one.name] = str(error)
                one.worker = None
                runs.remove(one)

    def measured(rounds: int) -> dict:
        return {
            "set": set_.name, "label": set_.label, "rows": len(set_.stored), "dim": set_.asked.shape[1],
            "metric": set_.metric, "queries": set_.which, "query_count": len(set_.asked), "k": K,
            "threads": options.threads, "single": options.single, "rounds": rounds,
            "peers": {one.name: one.result for one in runs}, "skipped": skipped,
        }  # fmt: skip

    runs.extend(Run(name, set_, options) for name in peers.expand(options.peers))
    everyone = list(runs)
    try:
        for step in ("build", "open", "calibrate"):
            each(step)
        for turn in range(options.rounds):
            for number in range(max((len(one.points) for one in runs), default=0)):
                each("measure", number)
            if options.threads == 1:
                each("latency")
            say(f"{set_.label}: round {turn + 1} of {options.rounds}")
            keep(measured(turn + 1))
    finally:
        for one in everyone:
            one.finish()
    return measured(options.rounds)
