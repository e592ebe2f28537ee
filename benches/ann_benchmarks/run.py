"""Runs ann-benchmarks' own runner, without Docker, on sets of ours, and plots what came out.

    python benches/ann_benchmarks/run.py --upstream ../ann-benchmarks --data ../shared/data

`--upstream` is a clone of ann-benchmarks (bare or not; its newest commit is used, no file of it is
changed), `--data` a folder of sets with train, queries, neighbors and distances as .npy files. Sets
become HDF5 files of upstream's form; then upstream's `main` runs every algorithm that can be imported
(ours from the wheel that is installed, hnswlib and faiss if they are), computes its recall, and
upstream's `plot.py` draws. Needs what upstream's requirements.txt names, but neither Docker nor the
exact versions. Results: `WORK/results/*.png` and `WORK/results.json`.
"""

import argparse
import gzip
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

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
# Upstream's algorithms beside us: folder, constructor, name. The parameters are the same for all.
PEERS = [("hnswlib", "HnswLib", "hnswlib"), ("faiss_hnsw", "FaissHNSW", "hnsw(faiss)")]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--upstream", required=True, type=Path, help="a clone of ann-benchmarks")
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data")
    parser.add_argument("--work", type=Path, default=HERE.parents[1] / "target" / "ann-benchmarks")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--algorithms", nargs="+", help="names; all if left out")
    parser.add_argument("--runs", type=int, default=3, help="the best of so many counts")
    parser.add_argument("--m", type=int, default=16)
    parser.add_argument("--ef-construction", type=int, default=200)
    parser.add_argument("--ef", type=int, nargs="+", default=[10, 20, 40, 60, 80, 120, 200, 400])
    parser.add_argument("--rows", type=int, help="only the first rows, to see that it runs")
    parser.add_argument("--force", action="store_true", help="run again what has results")
    args = parser.parse_args()

    unpack(args.upstream, args.work)
    install(args)
    summary = {}
    for folder in args.sets:
        name, distance = SETS[folder]
        if args.rows:
            name = f"{name}-{args.rows}"
        convert(args.data / folder, args.work / "data" / f"{name}.hdf5", distance, args.rows)
        for algorithm in args.algorithms or names_of_algorithms():
            force = ["--force"] if args.force else []
            options = ["--local", "--runs", str(args.runs), "--definitions", "definitions"]
            run = ["run.py", "--dataset", name, "--algorithm", algorithm, *options, *force]
            wanted = args.work / "results" / name / "10" / algorithm
            for _ in range(ATTEMPTS):
                # Upstream's worker may find its queue still empty, and end without a word.
                launch(args.work, name, run)
                if len(list(wanted.glob("*.hdf5"))) >= len(args.ef):
                    break
            else:
                print(f"{algorithm} has not run on {name}: see the log above", file=sys.stderr)
        plot = ["plot.py", "--dataset", name, "-X", "a3", "-Y", "log", "-o", f"results/{name}.png"]
        launch(args.work, name, plot)
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


def install(args: argparse.Namespace) -> None:
    """Our algorithms where upstream looks for them, and definitions with the parameters asked for."""
    ours = args.work / "ann_benchmarks" / "algorithms" / "nearfield"
    ours.mkdir(exist_ok=True)
    for file in ("module.py", "config.yml", "Dockerfile"):
        (ours / file).write_text((HERE / file).read_text())
    algorithms = [
        ("nearfield", "NearfieldIndex", "nearfield"),
        ("nearfield", "NearfieldCollection", "nearfield-collection"),
        *PEERS,
    ]
    for folder, constructor, name in algorithms:
        definition = {
            "base_args": ["@metric"],
            "constructor": constructor,
            "disabled": False,
            "docker_tag": f"ann-benchmarks-{folder}",
            "module": f"ann_benchmarks.algorithms.{folder}",
            "name": name,
            "run_groups": {
                "one": {
                    "arg_groups": [{"M": args.m, "efConstruction": args.ef_construction}],
                    "args": {},
                    "query_args": [args.ef],
                }
            },
        }
        place = args.work / "definitions" / constructor
        place.mkdir(parents=True, exist_ok=True)
        # JSON is YAML.
        (place / "config.yml").write_text(json.dumps({"float": {"any": [definition]}}, indent=1))


def names_of_algorithms() -> list[str]:
    return ["nearfield", "nearfield-collection", *(name for _, _, name in PEERS)]


def convert(source: Path, target: Path, distance: str, rows: int | None) -> None:
    """A set of ours as upstream's HDF5: float32, with the true neighbours."""
    if target.exists():
        return
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
