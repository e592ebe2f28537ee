"""The libraries side by side: one small class each, all with the interface of `Peer`.

A class imports its library in `__init__` and nowhere else, so that this file loads in any interpreter. Settings are
those that the library's own documentation recommends; where it gives a choice (M, degree), the ones that give the same
graph as hnswlib with M = 16 and ef_construction = 200. Embedded databases are in databases.py.
"""

from __future__ import annotations

from importlib import import_module, metadata
from pathlib import Path

import numpy as np

K = 10
"""How many neighbours are asked for."""

DRAWS = 10_000
"""Values of the attribute `draw` that every row has where searches are filtered."""


def draws(rows: int) -> np.ndarray:
    """That of each row: random, and the same in every process."""
    return np.random.default_rng(7).integers(0, DRAWS, rows, np.int64)


EFS = (10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 100, 128, 160, 200, 256, 320, 400, 512, 640, 800)


class Peer:
    """An index that is built once, saved, opened in a fresh process and asked many times.

    `metric` is "l2" or "cosine". Ids are row numbers. A parameter is whatever the class puts into `parameters`,
    ordered by what a search with it costs; it travels as JSON.
    """

    packages: tuple[str, ...] = ()
    """What pip has to install; the first one is the library itself."""
    unit = False
    """Whether rows and queries have to be brought to length 1 first for cosine (not timed)."""
    batch = True
    """Whether the library takes all queries in one call."""
    parameters: tuple = EFS
    filters = False
    """Whether it can be asked for rows with `draw < below` alone."""
    below: int | None = None
    """Set before anything else where rows have a `draw`: searches find those below it."""

    def __init__(self, dim: int, metric: str, threads: int) -> None:
        self.dim, self.metric, self.threads = dim, metric, threads

    def load(self, module: str):
        return import_module(module)

    def version(self) -> str:
        return metadata.version(self.packages[0].split("==")[0])

    def build(self, train: np.ndarray, folder: Path) -> None:
        """Builds the index of all rows and leaves it in `folder`."""
        raise NotImplementedError

    def open(self, folder: Path) -> None:
        raise NotImplementedError

    def search_one(self, query: np.ndarray, parameter) -> np.ndarray:
        """The ids nearest to one query."""
        return self.search(query[None], parameter)[0]

    def search(self, queries: np.ndarray, parameter) -> np.ndarray:
        """The ids nearest to each query, -1 where fewer were found."""
        return padded([self.search_one(query, parameter) for query in queries])

    def index_bytes(self) -> int | None:
        """What the library itself says that its index takes in memory."""
        return None


def padded(rows) -> np.ndarray:
    ids = np.full((len(rows), K), -1, np.int64)
    for row, found in zip(ids, rows):
        row[: len(found)] = found
    return ids


class Hnswlib(Peer):
    packages = ("hnswlib",)

    def __init__(self, dim: int, metric: str, threads: int, m: int = 16, ef_construction: int = 200) -> None:
        super().__init__(dim, metric, threads)
        self.m, self.ef_construction = int(m), int(ef_construction)
        self.index = self.load("hnswlib").Index(space=metric, dim=dim)
        self.ef = None

    def build(self, train: np.ndarray, folder: Path) -> None:
        self.index.init_index(len(train), M=self.m, ef_construction=self.ef_construction, random_seed=100)
        self.index.add_items(train, np.arange(len(train)), num_threads=self.threads)
        self.index.save_index(str(folder / "index"))

    def open(self, folder: Path) -> None:
        self.index.load_index(str(folder / "index"))
        self.index.set_num_threads(self.threads)

    def search(self, queries: np.ndarray, parameter: int) -> np.ndarray:
        if parameter != self.ef:
            self.index.set_ef(parameter)
            self.ef = parameter
        return self.index.knn_query(queries, K, num_threads=self.threads)[0].astype(np.int64)

    def index_bytes(self) -> int:
        return self.index.index_file_size()


class Faiss(Peer):
    """An index of `index_factory`; cosine is the inner product of unit vectors, as faiss's wiki says."""

    packages = ("faiss-cpu",)
    unit = True

    def __init__(self, dim: int, metric: str, threads: int, factory: str = "HNSW32,Flat") -> None:
        super().__init__(dim, metric, threads)
        self.faiss = self.load("faiss")
        self.faiss.omp_set_num_threads(threads)
        self.factory = factory
        self.refined = "Refine" in factory or "RFlat" in factory
        if self.refined:
            self.parameters = tuple((ef, factor) for ef in EFS for factor in (2, 4) if factor * K <= 2 * ef)

    def build(self, train: np.ndarray, folder: Path) -> None:
        inner = self.metric == "cosine"
        metric = self.faiss.METRIC_INNER_PRODUCT if inner else self.faiss.METRIC_L2
        index = self.faiss.index_factory(self.dim, self.factory, metric)
        graph = self.faiss.downcast_index(index.base_index) if self.refined else index
        graph.hnsw.efConstruction = 200
        index.train(train)
        index.add(train)
        self.faiss.write_index(index, str(folder / "index"))

    def open(self, folder: Path) -> None:
        self.index = self.faiss.read_index(str(folder / "index"))

    def search(self, queries: np.ndarray, parameter) -> np.ndarray:
        if self.refined:
            ef, factor = parameter
            graph = self.faiss.SearchParametersHNSW(efSearch=ef)
            chosen = self.faiss.IndexRefineSearchParameters(k_factor=factor, base_index_params=graph)
        else:
            chosen = self.faiss.SearchParametersHNSW(efSearch=parameter)
        return self.index.search(queries, K, params=chosen)[1]


class Usearch(Peer):
    packages = ("usearch",)

    def __init__(self, dim: int, metric: str, threads: int, dtype: str = "f32") -> None:
        super().__init__(dim, metric, threads)
        if dtype == "i8" and metric != "cosine":
            raise ValueError("i8 of usearch holds unit vectors: cosine only")
        name = {"l2": "l2sq", "cosine": "cos"}[metric]
        self.index = self.load("usearch.index").Index(
            ndim=dim, metric=name, dtype=dtype, connectivity=16, expansion_add=200
        )

    def build(self, train: np.ndarray, folder: Path) -> None:
        self.index.add(np.arange(len(train), dtype=np.uint64), train, threads=self.threads)
        self.index.save(str(folder / "index"))

    def open(self, folder: Path) -> None:
        self.index.load(str(folder / "index"))

    def search_one(self, query: np.ndarray, parameter: int) -> np.ndarray:
        self.index.expansion_search = parameter
        return self.index.search(query, K, threads=1).keys.astype(np.int64)

    def search(self, queries: np.ndarray, parameter: int) -> np.ndarray:
        self.index.expansion_search = parameter
        return self.index.search(queries, K, threads=self.threads).keys.astype(np.int64)

    def index_bytes(self) -> int:
        return self.index.memory_usage


class Glass(Peer):
    """Level 1 walks 8-bit codes, level 2 4-bit codes.

    The graph is saved; codes are made from the rows, and prefetching is tuned, each time the index is opened.
    """

    packages = ("glassppy==1.0.5",)
    unit = True

    def __init__(self, dim: int, metric: str, threads: int, level: int = 2) -> None:
        super().__init__(dim, metric, threads)
        self.glass, self.level, self.ef = self.load("glassppy"), int(level), None
        self.glass.set_num_threads(threads)
        self.kind = {"l2": "L2", "cosine": "IP"}[metric]

    def build(self, train: np.ndarray, folder: Path) -> None:
        index = self.glass.Index("HNSW", dim=self.dim, metric=self.kind, R=32, L=200)
        index.build(train).save(str(folder / "graph"))
        np.save(folder / "rows.npy", train)

    def open(self, folder: Path) -> None:
        rows = np.load(folder / "rows.npy")
        self.graph = self.glass.Graph(str(folder / "graph"))
        # Copies what it needs of the rows.
        self.searcher = self.glass.Searcher(self.graph, rows, self.kind, self.level)
        self.searcher.optimize(self.threads)

    def set(self, ef: int) -> None:
        if ef != self.ef:
            self.searcher.set_ef(ef)
            self.ef = ef

    def search_one(self, query: np.ndarray, parameter: int) -> np.ndarray:
        self.set(parameter)
        return np.asarray(self.searcher.search(query, K), np.int64)[:K]

    def search(self, queries: np.ndarray, parameter: int) -> np.ndarray:
        self.set(parameter)
        found = self.searcher.batch_search(queries, K, self.threads)
        return np.asarray(found, np.int64).reshape(len(queries), -1)[:, :K]


class Symqg(Peer):
    """SymphonyQG of its authors. Dimensions are filled up with zeros to a multiple of 64, which its rotation needs."""

    packages = ("rabitqlib",)
    unit = True

    def __init__(self, dim: int, metric: str, threads: int, bits: int = 0) -> None:
        super().__init__(dim, metric, threads)
        self.kind = self.load("rabitqlib").SymqgIndex
        self.bits = int(bits)

    def wide(self, rows: np.ndarray) -> np.ndarray:
        missing = -self.dim % 64
        return np.pad(rows, ((0, 0), (0, missing))) if missing else rows

    def build(self, train: np.ndarray, folder: Path) -> None:
        metric = {"l2": "l2", "cosine": "ip"}[self.metric]
        index = self.kind(self.dim + -self.dim % 64, 32, metric, self.bits)
        index.build(self.wide(train), ef_construction=200, num_threads=self.threads)
        index.save(str(folder / "index"))

    def open(self, folder: Path) -> None:
        self.index = self.kind.load(str(folder / "index"))

    def search(self, queries: np.ndarray, parameter: int) -> np.ndarray:
        found = self.index.search_batch(self.wide(queries), K, parameter, self.threads)[0]
        return found.astype(np.int64).reshape(len(queries), -1)


class RabitqHnsw(Peer):
    """HNSW over RaBitQ codes, without the rows themselves."""

    packages = ("rabitqlib",)
    unit = True

    def __init__(self, dim: int, metric: str, threads: int, bits: int = 5) -> None:
        super().__init__(dim, metric, threads)
        self.rabitq, self.bits = self.load("rabitqlib"), int(bits)

    def build(self, train: np.ndarray, folder: Path) -> None:
        clusters = self.rabitq.RaBitQKMeans(self.dim, 16, num_threads=self.threads)
        clusters.train(train)
        metric = {"l2": "l2", "cosine": "ip"}[self.metric]
        index = self.rabitq.HnswIndex(self.dim, len(train), 16, 200, self.bits, metric)
        index.build(train, clusters.centroids, clusters.assignments, num_threads=self.threads)
        index.save(str(folder / "index"))

    def open(self, folder: Path) -> None:
        self.index = self.rabitq.HnswIndex.load(str(folder / "index"))

    def search(self, queries: np.ndarray, parameter: int) -> np.ndarray:
        found = self.index.search(queries, K, parameter, self.threads)[0]
        return found.astype(np.int64).reshape(len(queries), -1)
