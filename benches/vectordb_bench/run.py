"""Runs VectorDBBench's own task runner on a set of ours: load, optimize, serial and parallel search.

    pip install vectordb-bench
    python benches/vectordb_bench/run.py --set npm-mpnet-768

The set becomes the Parquet files of its custom case. What it measures (load time, recall, p99, QPS at
the best of several numbers of processes) is printed as JSON; its own result file stays in WORK/results.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
METRICS = {"l2": "L2", "cosine": "COSINE"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data")
    parser.add_argument("--set", default="npm-mpnet-768")
    parser.add_argument("--work", type=Path, default=HERE.parents[1] / "target" / "vectordb-bench")
    parser.add_argument("--rows", type=int, help="only the first rows")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--ef", type=int, default=100)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=int, default=10, help="of each parallel search")
    args = parser.parse_args()

    work = args.work.resolve()
    dataset = convert(args.data / args.set, work / "data", args.set, args.rows, args.k)
    # It reads its settings when it is imported.
    os.environ["RESULTS_LOCAL_DIR"] = str(work / "results")
    os.environ["DATASET_LOCAL_DIR"] = str(work / "data")
    os.environ["NUM_PER_BATCH"] = "5000"
    os.environ["LOG_LEVEL"] = "WARNING"
    sys.path.insert(0, str(HERE))
    print(json.dumps(run(args, work, dataset), indent=1))


def convert(source: Path, folder: Path, name: str, rows: int | None, k: int) -> dict:
    """The set as train.parquet, test.parquet and neighbors.parquet, and its description."""
    metric = json.loads((source / "meta.json").read_text())["metric"]
    load = lambda part: np.load(next(source.glob(f"{part}*.npy"))).astype(np.float32)
    train, test = load("train.")[:rows], load("queries.")[:500]
    if rows:
        unit = lambda x: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)
        a, b = (unit(test), unit(train)) if metric == "cosine" else (test, train)
        distances = (b**2).sum(1) - 2 * a @ b.T
        neighbors = np.argsort(distances, axis=1)[:, :100]
    else:
        neighbors = np.load(source / "neighbors.npy")[: len(test)]
    place = folder / name.lower() / "custom"
    place.mkdir(parents=True, exist_ok=True)

    def write(file: str, columns: dict[str, np.ndarray]) -> None:
        arrays = {key: pa.array(list(v) if v.ndim > 1 else v) for key, v in columns.items()}
        pq.write_table(pa.table(arrays), place / file)

    write("train.parquet", {"id": np.arange(len(train)), "emb": train})
    write("test.parquet", {"id": np.arange(len(test)), "emb": test})
    write("neighbors.parquet", {"id": np.arange(len(test)), "neighbors_id": neighbors[:, :k]})
    return {
        "name": name,
        "dir": str(place),
        "size": len(train),
        "dim": train.shape[1],
        "metric_type": METRICS[metric],
        "file_count": 1,
        "use_shuffled": False,
        "with_gt": True,
        "train_name": "train",
        "test_name": "test",
        "gt_name": "neighbors",
        "train_id_name": "id",
        "train_col_name": "emb",
        "test_col_name": "emb",
        "gt_col_name": "neighbors_id",
    }


def register() -> object:
    """Adds nearfield to the databases that VectorDBBench knows."""
    from client import Nearfield, NearfieldConfig, NearfieldIndexConfig
    from vectordb_bench.backend.clients import DB

    # An enumeration takes no member from outside but in this way.
    member = object.__new__(DB)
    member._name_, member._value_, member.__objclass__ = "Nearfield", "nearfield", DB
    member._sort_order_ = len(DB._member_names_)
    DB._member_names_.append("Nearfield")
    DB._member_map_["Nearfield"] = member
    DB._value2member_map_["nearfield"] = member
    for attribute, ours in (("init_cls", Nearfield), ("config_cls", NearfieldConfig)):
        theirs = getattr(DB, attribute).fget
        choose = lambda db, ours=ours, theirs=theirs: ours if db is member else theirs(db)
        setattr(DB, attribute, property(choose))
    theirs = DB.case_config_cls
    DB.case_config_cls = lambda db, index_type=None: (
        NearfieldIndexConfig if db is member else theirs(db, index_type)
    )
    return member


def run(args: argparse.Namespace, work: Path, dataset: dict) -> dict:
    member = register()
    from client import NearfieldConfig, NearfieldIndexConfig
    from vectordb_bench.backend.assembler import Assembler
    from vectordb_bench.backend.cases import CaseType
    from vectordb_bench.backend.data_source import DatasetSource
    from vectordb_bench.models import CaseConfig, ConcurrencySearchConfig, TaskConfig

    task = TaskConfig(
        db=member,
        db_config=NearfieldConfig(db_label="local", path=str(work / "bench.nf")),
        db_case_config=NearfieldIndexConfig(ef_search=args.ef),
        case_config=CaseConfig(
            case_id=CaseType.PerformanceCustomDataset,
            custom_case={
                "name": f"nearfield on {args.set}",
                "description": "",
                "load_timeout": 3600,
                "optimize_timeout": 3600,
                "dataset_config": dataset,
            },
            k=args.k,
            concurrency_search_config=ConcurrencySearchConfig(
                num_concurrency=args.processes, concurrency_duration=args.seconds
            ),
        ),
        load_concurrency=1,
    )
    runner = Assembler.assemble("nearfield", task, DatasetSource.S3)
    metric = runner.run(drop_old=True)
    keys = ("insert_duration", "optimize_duration", "load_duration", "recall", "ndcg")
    keys += ("serial_latency_p99", "qps", "conc_num_list", "conc_qps_list")
    return {key: getattr(metric, key) for key in keys if hasattr(metric, key)}


if __name__ == "__main__":
    main()
