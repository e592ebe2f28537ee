"""nearfield beside its peers as packages: what installing, importing and using each takes, and what its errors say.

    python benches/compare/packages.py --nearfield WHEEL [--data FOLDER] [--json FILE] [--markdown FILE]

Each package is installed, in its newest release, into an environment of its own, which is deleted when it has been
measured. README.md beside this file says what is measured and how.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np

import package_report
from mistakes import MISTAKES, TIMEOUT
from package_worker import K, QUERY, SINCE, TASK_ROWS

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples/data"
DISK_ROWS = 20_000

IMPORTS = {
    "nearfield": "import nearfield",
    "chromadb": "import chromadb",
    "lancedb": "import lancedb",
    "qdrant-edge-py": "import qdrant_edge",
    "zvec": "import zvec",
    "usearch": "from usearch.index import Index",
    "hnswlib": "import hnswlib",
    "faiss-cpu": "import faiss",
}
"""The packages, by what their tasks import."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--nearfield", type=Path, metavar="WHEEL", help="the wheel to be measured")
    add("--packages", default=",".join(IMPORTS), help="comma-separated (default: all)")
    add("--data", type=Path, help="a set with texts in meta.parquet (default: examples/data)")
    add("--imports", type=int, default=15, help="processes for each import time (default: 15)")
    add("--cache", type=Path, help="environments and stores are made here (default: a temporary directory)")
    add("--json", type=Path, help="write everything that was measured here")
    add("--read", type=Path, help="measure nothing: show what --json wrote")
    add("--markdown", type=Path, help="write the page of all tables and messages here")
    options = parser.parse_args()
    options.packages = options.packages.split(",")
    unknown = [name for name in options.packages if name not in IMPORTS]
    if unknown:
        parser.error(f"there is no package {', '.join(unknown)}; there are {', '.join(IMPORTS)}")
    if not options.read and "nearfield" in options.packages and not options.nearfield:
        parser.error("name nearfield's wheel with --nearfield")
    return options


def chunks(source: Path | None, target: Path) -> dict:
    """Vectors, texts and years as the workers read them; the last row is the one that is searched for."""
    from pyarrow import parquet

    count = DISK_ROWS + 1
    if source:
        rows = parquet.read_table(source / "meta.parquet", columns=["name", "year", "summary"])[:count]
        vectors = np.load(source / "train.f16.npy", mmap_mode="r")[:count].astype(np.float32)
    else:
        rows = parquet.read_table(EXAMPLES / "packages.parquet")
        vectors = rows["embedding"].combine_chunks().flatten().to_numpy().reshape(len(rows), -1).astype(np.float32)
    texts = [f"{name}: {summary}" for name, summary in zip(rows["name"].to_pylist(), rows["summary"].to_pylist())]
    target.mkdir()
    np.save(target / "vectors.npy", vectors)
    (target / "rows.json").write_text(json.dumps({"text": texts, "year": rows["year"].to_pylist()}))
    stored = len(texts) - 1
    text_bytes = sum(len(text.encode()) for text in texts[:stored])
    return {
        "name": source.name if source else "examples",
        "rows": stored,
        "vector_bytes": vectors[:stored].nbytes,
        "text_bytes": text_bytes,
    }


def expected(folder: Path) -> list[list]:
    """What the search of the task finds, by comparing with every chunk; one more than it asks for."""
    vectors, rows = np.load(folder / "vectors.npy").astype(np.float64), json.loads((folder / "rows.json").read_text())
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = np.argsort(-(vectors[:TASK_ROWS] @ vectors[QUERY]), kind="stable").tolist()
    return [[id, rows["text"][id]] for id in order if rows["year"][id] >= SINCE][: K + 1]


class Package:
    """One package in an environment of its own."""

    def __init__(self, name: str, options: argparse.Namespace, work: Path) -> None:
        self.name, self.options, self.work, self.data = name, options, work / name, work / "data"
        self.python = self.work / "env/bin/python"

    def measured(self) -> dict:
        self.work.mkdir()
        try:
            found = {**self.installed(), "import": self.imported(), **code_of(self.name)}
            self.bring_numpy()
            found["task"] = self.task()
            found["disk"] = self.worker("fill", self.work / "filled", str(found_rows(self.data)))
            found["mistakes"] = self.mistakes()
            return found
        finally:
            shutil.rmtree(self.work)

    def installed(self) -> dict:
        """Downloads or builds the wheels of the package and of what it needs, and installs them."""
        wheels, what = self.work / "wheels", self.options.nearfield if self.name == "nearfield" else self.name
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "wheel", "--no-cache-dir", "--quiet", "-w", wheels, what], check=True)
        venv.create(self.work / "env")
        install = [*pip, "--python", self.python, "install", "--quiet", "--no-index", "--find-links", wheels]
        subprocess.run([*install, what], check=True)
        self.site = next((self.work / "env/lib").glob("python*/site-packages"))
        kept = [path for path in self.site.rglob("*") if path.is_file() and path.suffix != ".pyc"]
        own = next(wheels.glob(f"{self.name.replace('-', '_')}-*.whl"))
        return {
            "version": own.name.split("-")[1],
            "wheel_bytes": own.stat().st_size,
            "wheels_bytes": sum(wheel.stat().st_size for wheel in wheels.iterdir()),
            "installed_bytes": sum(path.stat().st_size for path in kept),
            "packages": sorted(path.name.split("-")[0] for path in self.site.glob("*.dist-info")),
            "built_here": "-linux_" in own.name,
        }

    def imported(self) -> dict[str, list[float]]:
        """Milliseconds in fresh processes: the package, NumPy, and the package behind NumPy.

        The first round, which reads files and compiles, does not count.
        """
        own = IMPORTS[self.name]
        has_numpy = (self.site / "numpy").exists()
        clock = "import time; a = time.perf_counter(); {}; print((time.perf_counter() - a) * 1e3)"
        codes = {"package": clock.format(own)}
        if has_numpy:
            codes["numpy"] = clock.format("import numpy")
            codes["behind_numpy"] = "import numpy; " + clock.format(own)
        found: dict[str, list[float]] = {what: [] for what in codes}
        for turn in range(self.options.imports + 1):
            for what, code in codes.items():
                took = float(subprocess.check_output([self.python, "-c", code], text=True).split()[-1])
                if turn:
                    found[what].append(took)
        return found

    def bring_numpy(self) -> None:
        """The workers need it, though not every package does; it is not counted."""
        if not (self.site / "numpy").exists():
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", self.python]
            subprocess.run([*pip, "install", "--no-cache-dir", "--quiet", "numpy"], check=True)

    def run(self, what: str, store: Path, *more: str) -> tuple[int | None, Path, str]:
        """The worker's exit status (None: no answer in time), its result and what it wrote to standard error."""
        result = self.work / "result.json"
        result.unlink(missing_ok=True)
        command = [self.python, HERE / "package_worker.py", what, self.name, self.data, store, result, *more]
        limit = TIMEOUT if what == "mistake" else 1_800
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        # A session of its own, so that what it starts ends with it.
        process = subprocess.Popen(command, text=True, start_new_session=True, **quiet)
        try:
            _, said = process.communicate(timeout=limit)
            return process.returncode, result, said
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return None, result, ""

    def worker(self, what: str, store: Path, *more: str):
        status, result, said = self.run(what, store, *more)
        if status != 0 or not result.exists():
            raise SystemExit(f"{self.name}: {what} ended with {status}: {said[-2_000:]}")
        return json.loads(result.read_text())

    def task(self) -> str:
        """Runs the task, and checks everything that its searches find."""
        store, right = self.work / "task", expected(self.data)
        first, again = self.worker("task", store), self.worker("again", store)
        changed = [[right[0][0], "another text"], *right[2:]]
        for step, found, wanted in (("search", first, right[:K]), ("search after reopening", again, changed)):
            if found != wanted:
                raise SystemExit(f"{self.name}: the {step} finds {found}; {wanted} are right")
        return "right"

    def mistakes(self) -> dict[str, dict]:
        store, whole = self.work / "shelf", self.work / "whole"
        self.worker("prepare", store)
        shutil.copytree(store, whole)
        (self.work / "answers.json").write_text(json.dumps(self.worker("answers", store)))
        return {mistake: self.mistake(mistake, store, whole) for mistake in MISTAKES}

    def mistake(self, mistake: str, store: Path, whole: Path, again: bool = True) -> dict:
        """What comes of one; without an answer it is made once more, for the machine may have been busy."""
        shutil.rmtree(store)
        shutil.rmtree(store.with_name("nowhere"), ignore_errors=True)
        shutil.copytree(whole, store)
        status, result, said = self.run("mistake", store, mistake)
        if status is None and again:
            return self.mistake(mistake, store, whole, again=False)
        if status is None:
            return {"outcome": "hang", "text": f"no answer in {TIMEOUT} s"}
        if status < 0:
            return {"outcome": "crash", "text": signal.Signals(-status).name}
        if not result.exists():
            return {"outcome": "crash", "text": f"ended with {status}: {said[-500:]}"}
        found = json.loads(result.read_text())
        found["text"] = found["text"].replace(str(self.work), "…")
        return found


def found_rows(data: Path) -> int:
    return len(np.load(data / "vectors.npy", mmap_mode="r")) - 1


def code_of(name: str) -> dict[str, int]:
    """Lines and statements of the package's task."""
    source = (HERE / "tasks" / f"{name}.py").read_text()
    return {"lines": package_report.code_lines(source), "statements": package_report.statements(source)}


def machine() -> str:
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release().split('-')[0]}"


def measured(options: argparse.Namespace) -> dict:
    work = Path(tempfile.mkdtemp(prefix="packages-", dir=options.cache))
    try:
        result = {
            "machine": machine(),
            "python": platform.python_version(),
            "data": chunks(options.data, work / "data"),
            "imports": options.imports,
            "packages": {},
        }
        for name in options.packages:
            started = time.monotonic()
            result["packages"][name] = Package(name, options, work).measured()
            took = min(result["packages"][name]["import"]["package"])
            print(f"{name}: import {took:.0f} ms, {time.monotonic() - started:.0f} s in all", file=sys.stderr)
            if options.json:
                options.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        return result
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main() -> None:
    options = arguments()
    if options.cache:
        options.cache.mkdir(parents=True, exist_ok=True)
    result = json.loads(options.read.read_text()) if options.read else measured(options)
    print(package_report.summary(result))
    if options.markdown:
        options.markdown.write_text(package_report.page(result))


if __name__ == "__main__":
    main()
