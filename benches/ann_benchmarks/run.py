"""Runs ann-benchmarks' own runner, without Docker, on sets of ours, and plots what came out.

    python benches/ann_benchmarks/run.py --upstream ../ann-benchmarks --data ../shared/data

`--upstream` is a clone of ann-benchmarks (bare or not; its newest commit is used, no file of it is
changed), `--data` a folder of sets with train, queries, neighbors and distances as .npy files. Sets
become HDF5 files of upstream's form; then upstream's `main` runs every algorithm that can be imported
(ours from the wheel that is installed; hnswlib, faiss, Glass, SymphonyQG and ScaNN if they are: those that
are not are named with the package to install), computes its recall, and upstream's `plot.py` draws. Needs
what upstream's requirements.txt names, but neither Docker nor the exact versions. Glass has wheels for
CPython 3.10 alone. Results: `WORK/results/*.png`, copied to `--plots`, and `WORK/results.json`. `--smoke` takes
the first rows of two sets, to see that all of it runs.
"""

import argparse
import gzip
import importlib.util
import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

HERE = Path(__file__).parent
# Our folder, upstream's name and distance.
SETS = {
    "fashion-mnist-784": ("fashion-mnist-784-euclidean", "euclidean"),
    "pypi-minilm-384-100k": ("pypi-minilm-384-angular", "angular"),
    "glove-50-60k": ("glove-50-60k-angular", "angular"),
    "npm-mpnet-768": ("npm-mpnet-768-angular", "angular"),
}
ATTEMPTS = 4
# Runs a script of upstream's with our sets among those it knows.
LAUNCH = """
import runpy, sys
sys.path.insert(0, ".")
from ann_benchmarks import datasets
for name in {names!r}:
    datasets.DATASETS.setdefault(name, None)
sys.argv = {argv!r}
runpy.run_path({argv!r}[0], run_name="__main__")
"""


class Algorithm(NamedTuple):
    """An algorithm as upstream knows it."""

    name: str
    folder: str
    constructor: str
    module: str
    """What is imported."""
    package: str
    """What pip installs."""
    parameters: Callable[[int, int], dict[str, int]] | None = lambda m, ef: {"M": m, "efConstruction": ef}
    """What it is made with, for an M and an efConstruction; None for ScaNN, which has no graph."""
    base: tuple[str, ...] = ("@metric",)
    ours: tuple[str, ...] = ()
    """Files of this folder that upstream lacks: the module, then those that stand beside it."""


OURS = ("module.py", "config.yml", "Dockerfile")


# The same graph by other names: 2 M links of a node in the lowest layer.
def glass(m: int, ef: int) -> dict[str, int]:
    return {"R": 2 * m, "L": ef, "level": 2}


def symqg(m: int, ef: int) -> dict[str, int]:
    return {"degree": 2 * m, "efConstruction": ef}


ALGORITHMS = [
    Algorithm("nearfield", "nearfield", "NearfieldIndex", "nearfield", "nearfield", ours=OURS),
    Algorithm("nearfield-collection", "nearfield", "NearfieldCollection", "nearfield", "nearfield", ours=OURS),
    Algorithm("hnswlib", "hnswlib", "HnswLib", "hnswlib", "hnswlib"),
    Algorithm("hnsw(faiss)", "faiss_hnsw", "FaissHNSW", "faiss", "faiss-cpu"),
    Algorithm("glass", "glass", "Glass", "glassppy", "glassppy", glass, ("@metric", "@dimension")),
    Algorithm("symqg", "symqg", "Symqg", "rabitqlib", "rabitqlib", symqg, ours=("symqg.py",)),
    Algorithm("scann", "scann", "Scann", "scann", "scann", None, ()),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--upstream", required=True, type=Path, help="a clone of ann-benchmarks")
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data")
    parser.add_argument("--work", type=Path, default=HERE.parents[1] / "target" / "ann-benchmarks")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    names = [algorithm.name for algorithm in ALGORITHMS]
    parser.add_argument("--algorithms", nargs="+", choices=names, default=names)
    parser.add_argument("--plots", type=Path, help="copy the plots here, such as docs/plots")
    parser.add_argument("--smoke", action="store_true", help="few rows of two sets, to see that it runs")
    parser.add_argument("--runs", type=int, default=3, help="the best of so many counts")
    parser.add_argument("--m", type=int, default=16)
    parser.add_argument("--ef-construction", type=int, default=200)
    parser.add_argument("--ef", type=int, nargs="+", default=[10, 20, 40, 60, 80, 120, 200, 400])
    parser.add_argument("--rows", type=int, help="only the first rows, to see that it runs")
    parser.add_argument("--force", action="store_true", help="run again what has results")
    args = parser.parse_args()
    if args.smoke:
        args.sets, args.rows, args.runs = args.sets[:2], args.rows or 2_000, 1
        args.ef = [20, 80]
    algorithms = [algorithm for algorithm in ALGORITHMS if algorithm.name in args.algorithms]
    for algorithm in list(algorithms):
        if importlib.util.find_spec(algorithm.module) is None:
            print(f"{algorithm.name} is left out: pip install {algorithm.package}", file=sys.stderr)
            algorithms.remove(algorithm)

    unpack(args.upstream, args.work)
    summary = {}
    for folder in args.sets:
        name, distance = SETS[folder]
        if args.rows:
            name = f"{name}-{args.rows}"
        rows = convert(args.data / folder, args.work / "data" / f"{name}.hdf5", distance, args.rows)
        for algorithm in algorithms:
            asked = install(algorithm, args, distance, rows)
            force = ["--force"] if args.force else []
            options = ["--local", "--runs", str(args.runs), "--definitions", "definitions"]
            run = ["run.py", "--dataset", name, "--algorithm", algorithm.name, *options, *force]
            wanted = args.work / "results" / name / "10" / algorithm.name
            for _ in range(ATTEMPTS):
                # Upstream's worker may find its queue still empty, and end without a word.
                launch(args.work, name, run)
                if len(list(wanted.glob("*.hdf5"))) >= asked:
                    break
            else:
                print(f"{algorithm.name} has not run on {name}: see the log above", file=sys.stderr)
        plot = ["plot.py", "--dataset", name, "-X", "a3", "-Y", "log", "-o", f"results/{name}.png"]
        launch(args.work, name, plot)
        if args.plots:
            args.plots.mkdir(parents=True, exist_ok=True)
            shutil.copy(args.work / "results" / f"{name}.png", args.plots / f"ann-benchmarks-{name}.png")
        summary[name] = curves(args.work, name)
    (args.work / "results.json").write_text(json.dumps(summary, indent=1) + "\n")
    for name, algorithms in summary.items():
        report(name, algorithms)


def unpack(upstream: Path, work: Path) -> None:
    """Puts upstream's newest commit into `work`, whatever else is there."""
    work.mkdir(parents=True, exist_ok=True)
    archive = ["git", "-C", str(upstream), "archive", "--format=tar", "HEAD"]
    packed = subprocess.run(archive, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as files:
        wanted = [m for m in files.getmembers() if not m.name.startswith("results/")]
        if sys.version_info >= (3, 12):
            files.extractall(work, members=wanted, filter="data")
        else:
            files.extractall(work, members=wanted)


def install(algorithm: Algorithm, args: argparse.Namespace, distance: str, rows: int) -> int:
    """The algorithm where upstream looks for it, defined with the parameters asked for, and nothing else
    defined; how many runs that makes."""
    place = args.work / "ann_benchmarks" / "algorithms" / algorithm.folder
    for number, file in enumerate(algorithm.ours):
        place.mkdir(exist_ok=True)
        (place / ("module.py" if number == 0 else file)).write_text((HERE / file).read_text())
    if algorithm.parameters is None:
        # About the leaves that upstream takes for a million rows; a share of them is searched.
        leaves = max(10, round(2 * rows**0.5))
        kind = "dot_product" if distance == "angular" else "squared_l2"
        shares = [0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32] if not args.smoke else [0.05, 0.2]
        asked = [[max(1, round(leaves * share)), reorder] for share in shares for reorder in (40, 120)]
        group = {"args": [[leaves], [0.2], [2], [kind]], "query_args": [asked]}
    else:
        made = algorithm.parameters(args.m, args.ef_construction)
        asked = args.ef
        group = {"arg_groups": [made], "args": {}, "query_args": [asked]}
    definition = {
        "base_args": list(algorithm.base),
        "constructor": algorithm.constructor,
        "disabled": False,
        "docker_tag": f"ann-benchmarks-{algorithm.folder}",
        "module": f"ann_benchmarks.algorithms.{algorithm.folder}",
        "name": algorithm.name,
        "run_groups": {"one": group},
    }
    definitions = args.work / "definitions"
    shutil.rmtree(definitions, ignore_errors=True)
    (definitions / algorithm.constructor).mkdir(parents=True)
    # JSON is YAML.
    text = json.dumps({"float": {"any": [definition]}}, indent=1)
    (definitions / algorithm.constructor / "config.yml").write_text(text)
    return len(asked)


def convert(source: Path, target: Path, distance: str, rows: int | None) -> int:
    """A set of ours as upstream's HDF5: float32, with the true neighbours; how many rows it has."""
    if target.exists():
        with h5py.File(target) as file:
            return len(file["train"])
    target.parent.mkdir(parents=True, exist_ok=True)

    def load(name: str) -> np.ndarray:
        found = sorted(source.glob(f"{name}.*npy"))
        images = source / "train-images-idx3-ubyte.gz"
        if not found and name == "train" and images.exists():
            # As Fashion-MNIST is published: 16 bytes of header, then rows of pixels.
            pixels = np.frombuffer(gzip.decompress(images.read_bytes()), np.uint8, offset=16)
            return pixels.reshape(-1, 28 * 28)
        if not found:
            sys.exit(f"{source} has no {name}.npy")
        return np.load(found[0])

    train, test = load("train").astype(np.float32), load("queries").astype(np.float32)
    if rows:
        train, test = train[:rows], test[:100]
        neighbors, distances = nearest(train, test, distance)
    else:
        neighbors, distances = load("neighbors"), load("distances")
    with h5py.File(target, "w") as file:
        file.attrs["type"] = "dense"
        file.attrs["distance"] = distance
        file.attrs["dimension"] = train.shape[1]
        file.attrs["point_type"] = "float"
        for name, array in zip(
            ("train", "test", "neighbors", "distances"), (train, test, neighbors, distances)
        ):
            file.create_dataset(name, data=array)
    return len(train)


def nearest(train: np.ndarray, test: np.ndarray, distance: str) -> tuple[np.ndarray, np.ndarray]:
    """The true hundred neighbours, for a set that was cut."""
    train, test = train.astype(np.float64), test.astype(np.float64)
    if distance == "angular":
        train = train / np.linalg.norm(train, axis=1, keepdims=True)
        test = test / np.linalg.norm(test, axis=1, keepdims=True)
        all_distances = 1 - test @ train.T
    else:
        squared = (test**2).sum(1)[:, None] + (train**2).sum(1) - 2 * test @ train.T
        all_distances = np.sqrt(np.maximum(squared, 0))
    neighbors = np.argsort(all_distances, axis=1)[:, :100]
    return neighbors.astype(np.int32), np.take_along_axis(all_distances, neighbors, 1)


def launch(work: Path, dataset: str, argv: list[str]) -> int:
    code = LAUNCH.format(names=[dataset], argv=argv)
    return subprocess.run([sys.executable, "-c", code], cwd=work, check=False).returncode


def curves(work: Path, dataset: str) -> dict[str, list[dict[str, float | str]]]:
    """Recall and queries a second of every run, by upstream's own metrics."""
    code = (
        "import sys, json, contextlib; sys.path.insert(0, '.')\n"
        "import h5py\n"
        "from ann_benchmarks.plotting.utils import compute_metrics_all_runs\n"
        "from ann_benchmarks.results import load_all_results\n"
        "name = sys.argv[1]\n"
        "with h5py.File(f'data/{name}.hdf5') as file, contextlib.redirect_stdout(sys.stderr):\n"
        "    runs = list(compute_metrics_all_runs(file, load_all_results(name, 10, False)))\n"
        "kept = ('algorithm', 'parameters', 'k-nn', 'qps', 'p50', 'p99', 'build', 'indexsize')\n"
        "runs = [{key: run[key] for key in kept if key in run} for run in runs]\n"
        "print(json.dumps(runs, default=float))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, dataset], cwd=work, check=True, stdout=subprocess.PIPE
    )
    algorithms: dict[str, list[dict[str, float | str]]] = {}
    for run in json.loads(ran.stdout):
        algorithms.setdefault(run.pop("algorithm"), []).append(run)
    for runs in algorithms.values():
        runs.sort(key=lambda run: run["k-nn"])
    return algorithms


def at_recall(runs: list[dict], recall: float) -> float | None:
    """Queries a second at a recall, on the straight line between the two runs beside it."""
    best: list[tuple[float, float]] = []
    for run in sorted(runs, key=lambda run: -run["k-nn"]):
        if not best or run["qps"] > best[-1][1]:
            best.append((run["k-nn"], run["qps"]))
    for (high, slow), (low, fast) in zip(best, best[1:]):
        if low <= recall <= high:
            share = (recall - low) / (high - low)
            return float(np.exp(np.log(fast) * (1 - share) + np.log(slow) * share))
    return best[-1][1] if best and best[-1][0] >= recall else None


def report(name: str, algorithms: dict[str, list[dict]]) -> None:
    print(f"\n{name}: queries a second at recall 0.90 / 0.95 / 0.99; build seconds")
    anchor = at_recall(algorithms.get("hnswlib", []), 0.95)
    for algorithm, runs in algorithms.items():
        shown = [at_recall(runs, recall) for recall in (0.9, 0.95, 0.99)]
        columns = " ".join(f"{qps:10,.0f}" if qps else "         -" for qps in shown)
        ratio = f"{shown[1] / anchor:6.2f}x" if shown[1] and anchor else "      -"
        print(f"{algorithm:24} {columns} {ratio} of hnswlib  {runs[0]['build']:8.1f} s")


if __name__ == "__main__":
    main()
