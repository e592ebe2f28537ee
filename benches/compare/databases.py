"""Embedded databases side by side, nearfield among them: rows with ids in a directory, through the ordinary interface.

The same interface as in libraries.py. What a database writes is given to it in batches of `ROWS`, and building ends
when its index is complete and everything is on disk.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from libraries import EFS, K, Peer, draws, padded

ROWS = 10_000
"""Rows a batch."""

FEW = (10, 20, 40, 80, 160, 320, 640)
"""The parameters of databases that take milliseconds a query."""


def batches(train: np.ndarray, rows: int = ROWS):
    for start in range(0, len(train), rows):
        yield start, train[start : start + rows]


class Nearfield(Peer):
    """An ordinary collection with defaults; `code` and `graph_bytes` are those of `nearfield.open`."""

    packages = ("nearfield",)
    filters = True

    def __init__(self, dim: int, metric: str, threads: int, code: str = "auto", graph_bytes: int | None = None) -> None:
        super().__init__(dim, metric, threads)
        self.nearfield, self.code = self.load("nearfield"), code
        self.more = {} if graph_bytes is None else {"graph_bytes": int(graph_bytes)}

    def build(self, train: np.ndarray, folder: Path) -> None:
        options = {"durability": "none", "threads": self.threads, "code": self.code, **self.more}
        with self.nearfield.open(folder / "db", **options) as database:
            rows = database.collection("rows", dim=self.dim, metric=self.metric)
            drawn = draws(len(train))
            for start, part in batches(train):
                data = None if self.below is None else {"draw": drawn[start : start + len(part)]}
                rows.upsert(np.arange(start, start + len(part), dtype=np.uint64), part, data)
            rows.compact()

    def open(self, folder: Path) -> None:
        self.database = self.nearfield.open(folder / "db", mode="r", threads=self.threads)
        self.rows = self.database["rows"]
        self.where = None if self.below is None else self.nearfield.col("draw") < self.below

    def search_one(self, query: np.ndarray, parameter: int) -> np.ndarray:
        return self.rows.search(query, K, ef=parameter, where=self.where).ids

    def search(self, queries: np.ndarray, parameter: int) -> np.ndarray:
        return self.rows.search_batch(queries, K, ef=parameter, where=self.where).ids


class NearfieldIndex(Peer):
    """The class without a database, what hnswlib's own class is."""

    packages = ("nearfield",)

    def __init__(self, dim: int, metric: str, threads: int, ef_construction: int = 200) -> None:
        super().__init__(dim, metric, threads)
        self.nearfield, self.ef_construction = self.load("nearfield"), int(ef_construction)

    def build(self, train: np.ndarray, folder: Path) -> None:
        index = self.nearfield.Index(
            self.dim, self.metric, ef_construction=self.ef_construction, threads=self.threads
        )
        index.add(train)
        index.build()
        index.save(folder / "index")

    def open(self, folder: Path) -> None:
        self.index = self.nearfield.Index.view(folder / "index", threads=self.threads)

    def search_one(self, query: np.ndarray, parameter: int) -> np.ndarray:
        return self.index.search(query, K, ef=parameter)[0]

    def search(self, queries: np.ndarray, parameter: int) -> np.ndarray:
        return self.index.search_batch(queries, K, ef=parameter)[0]


class Zvec(Peer):
    """HNSW over INT8 codes, with and without comparing again with the rows ("refiner").

    Asked through the low-latency path of its documentation: internal ids of a read-only collection, then resolved.
    """

    packages = ("zvec",)
    batch = False
    filters = True

    def __init__(self, dim: int, metric: str, threads: int, codes: str = "INT8") -> None:
        super().__init__(dim, metric, threads)
        self.zvec, self.codes = self.load("zvec"), codes
        self.zvec.init(query_threads=threads, optimize_threads=threads, log_level=self.zvec.LogLevel.ERROR)
        if codes != "none":
            # 0: not refined; otherwise so many times k rows are compared again.
            self.parameters = tuple((ef, refined) for ef in EFS for refined in (0, 2, 4) if refined * K <= ef)

    def build(self, train: np.ndarray, folder: Path) -> None:
        zvec = self.zvec
        metric = {"l2": zvec.MetricType.L2, "cosine": zvec.MetricType.COSINE}[self.metric]
        codes = {} if self.codes == "none" else {"quantize_type": zvec.QuantizeType.__members__[self.codes]}
        index = zvec.HnswIndexParam(metric, m=16, ef_construction=200, use_contiguous_memory=True, **codes)
        vector = zvec.VectorSchema("v", zvec.DataType.VECTOR_FP32, self.dim, index)
        ranges = zvec.InvertIndexParam(enable_range_optimization=True)
        fields = [] if self.below is None else [zvec.FieldSchema("draw", zvec.DataType.INT64, index_param=ranges)]
        schema = zvec.CollectionSchema(name="rows", fields=fields, vectors=[vector])
        rows = zvec.create_and_open(str(folder / "db"), schema)
        drawn = draws(len(train)).tolist()
        for start, part in batches(train, 1_000):
            of = [{"draw": drawn[start + i]} if fields else {} for i in range(len(part))]
            rows.insert([zvec.Doc(id=str(start + i), vectors={"v": row}, fields=of[i]) for i, row in enumerate(part)])
        rows.optimize(zvec.OptimizeOption(concurrency=self.threads))
        rows.flush()
        rows.close()

    def open(self, folder: Path) -> None:
        self.rows = self.zvec.open(str(folder / "db"), self.zvec.CollectionOption(read_only=True))

    def asked(self, parameter):
        if self.codes == "none":
            return self.zvec.HnswQueryParam(ef=parameter)
        ef, refined = parameter
        return self.zvec.HnswQueryParam(ef=ef, is_using_refiner=refined > 0, scale_factor=float(refined))

    def found(self, query: np.ndarray, chosen) -> np.ndarray:
        where = None if self.below is None else f"draw < {self.below}"
        ids = self.rows.query_internal_ids(self.zvec.Query("v", vector=query, param=chosen), topk=K, filter=where)
        return np.array([-1 if id is None else int(id) for id in self.rows.resolve_internal_ids(ids)])

    def search_one(self, query: np.ndarray, parameter) -> np.ndarray:
        return self.found(query, self.asked(parameter))

    def search(self, queries: np.ndarray, parameter) -> np.ndarray:
        chosen = self.asked(parameter)
        return padded([self.found(query, chosen) for query in queries])


class QdrantEdge(Peer):
    """HNSW over the rows ("none"), over int8 codes or over 4-bit codes, both compared again with the rows."""

    packages = ("qdrant-edge-py",)
    filters = True

    def __init__(self, dim: int, metric: str, threads: int, codes: str = "int8") -> None:
        super().__init__(dim, metric, threads)
        self.edge, self.codes = self.load("qdrant_edge"), codes
        if codes != "none":
            self.parameters = tuple((ef, over) for ef in EFS for over in (1, 2, 4) if over * K <= 2 * ef)

    def config(self):
        edge = self.edge
        distance = {"l2": edge.Distance.Euclid, "cosine": edge.Distance.Cosine}[self.metric]
        codes = {
            "none": lambda: None,
            "int8": lambda: edge.ScalarQuantizationConfig(edge.ScalarType.Int8, quantile=0.99, always_ram=True),
            "4bit": lambda: edge.TurboQuantQuantizationConfig(always_ram=True, bits=edge.TurboQuantBitSize.Bits4),
        }[self.codes]()
        return edge.EdgeConfig(
            vectors=edge.EdgeVectorParams(size=self.dim, distance=distance),
            hnsw_config=edge.HnswIndexConfig(
                m=16, ef_construct=200, full_scan_threshold=1_000, max_indexing_threads=self.threads
            ),
            quantization_config=codes,
            # One segment of any size, as all the others have.
            optimizers=edge.EdgeOptimizersConfig(
                default_segment_number=1, max_segment_size=1_000_000_000, indexing_threshold=1_000
            ),
            max_search_threads=self.threads,
        )

    def build(self, train: np.ndarray, folder: Path) -> None:
        path = folder / "db"
        path.mkdir()
        shard = self.edge.EdgeShard.create(str(path), self.config())
        drawn = draws(len(train)).tolist()
        if self.below is not None:
            kind = self.edge.PayloadSchemaType.Integer
            shard.update(self.edge.UpdateOperation.create_field_index("draw", kind))
        for start, part in batches(train, 1_000):
            of = [{"draw": drawn[start + i]} if self.below is not None else None for i in range(len(part))]
            points = [self.edge.Point(start + i, row, of[i]) for i, row in enumerate(part.tolist())]
            shard.update(self.edge.UpdateOperation.upsert_points(points))
        shard.optimize()
        shard.flush()
        shard.close()

    def open(self, folder: Path) -> None:
        self.shard = self.edge.EdgeShard.load(str(folder / "db"))

    def request(self, query: np.ndarray, parameter):
        edge = self.edge
        if self.codes == "none":
            chosen = edge.SearchParams(hnsw_ef=parameter)
        else:
            again = edge.QuantizationSearchParams(rescore=True, oversampling=float(parameter[1]))
            chosen = edge.SearchParams(hnsw_ef=parameter[0], quantization=again)
        where = None
        if self.below is not None:
            where = edge.Filter(must=[edge.FieldCondition("draw", range=edge.RangeFloat(lt=self.below))])
        return edge.QueryRequest(limit=K, query=edge.Query.Nearest(query.tolist()), params=chosen, filter=where)

    def search_one(self, query: np.ndarray, parameter) -> np.ndarray:
        return np.array([point.id for point in self.shard.query(self.request(query, parameter))])

    def search(self, queries: np.ndarray, parameter) -> np.ndarray:
        asked = self.edge.QueryBatchRequest([self.request(query, parameter) for query in queries])
        return padded([[point.id for point in points] for points in self.shard.query_batch(asked)])


class LanceDb(Peer):
    """IVF_HNSW_SQ, or IVF_PQ; the best are compared again with the rows ("refine factor")."""

    packages = ("lancedb",)
    batch = False
    filters = True

    def __init__(self, dim: int, metric: str, threads: int, index: str = "hnsw-sq") -> None:
        super().__init__(dim, metric, threads)
        self.lancedb, self.index = self.load("lancedb"), index
        graph = index == "hnsw-sq"
        # Cells probed, ef (at least k × refine factor), refine factor.
        self.parameters = tuple((20, ef, 2) for ef in FEW[1:]) if graph else tuple((n, 0, 10) for n in (5, 10, 20, 40, 80))

    def build(self, train: np.ndarray, folder: Path) -> None:
        arrow = self.load("pyarrow")
        database = self.lancedb.connect(str(folder / "db"))

        def table(start: int, part: np.ndarray):
            vectors = arrow.FixedSizeListArray.from_arrays(arrow.array(part.reshape(-1)), self.dim)
            drawn = arrow.array(draws(len(train))[start : start + len(part)])
            return arrow.table(
                {"id": arrow.array(np.arange(start, start + len(part))), "vector": vectors, "draw": drawn}
            )

        parts = iter(batches(train, 50_000))
        rows = database.create_table("rows", table(*next(parts)))
        for start, part in parts:
            rows.add(table(start, part))
        if self.index == "hnsw-sq":
            rows.create_index(metric=self.metric, index_type="IVF_HNSW_SQ", m=16, ef_construction=200)
        else:
            rows.create_index(metric=self.metric, index_type="IVF_PQ")
        if self.below is not None:
            rows.create_scalar_index("draw", index_type="BTREE")
        rows.optimize()

    def open(self, folder: Path) -> None:
        self.rows = self.lancedb.connect(str(folder / "db")).open_table("rows")

    def search_one(self, query: np.ndarray, parameter) -> np.ndarray:
        probes, ef, refined = parameter
        search = self.rows.search(query).distance_type(self.metric).limit(K).nprobes(probes).refine_factor(refined)
        search = search.ef(ef) if ef else search
        search = search if self.below is None else search.where(f"draw < {self.below}", prefilter=True)
        return search.select(["id", "_distance"]).to_arrow()["id"].to_numpy()


class Chroma(Peer):
    packages = ("chromadb",)
    parameters = FEW
    filters = True

    def __init__(self, dim: int, metric: str, threads: int) -> None:
        super().__init__(dim, metric, threads)
        self.chroma, self.ef = self.load("chromadb"), None
        logging.getLogger("chromadb").setLevel(logging.ERROR)

    def client(self, folder: Path):
        settings = self.load("chromadb.config").Settings(anonymized_telemetry=False)
        return self.chroma.PersistentClient(str(folder / "db"), settings)

    def build(self, train: np.ndarray, folder: Path) -> None:
        graph = {"space": self.metric, "max_neighbors": 16, "ef_construction": 200, "num_threads": self.threads}
        client = self.client(folder)
        rows = client.create_collection("rows", configuration={"hnsw": graph}, embedding_function=None)
        drawn = draws(len(train)).tolist()
        for start, part in batches(train, 5_000):
            of = None if self.below is None else [{"draw": draw} for draw in drawn[start : start + len(part)]]
            rows.add(ids=[str(start + i) for i in range(len(part))], embeddings=part, metadatas=of)

    def open(self, folder: Path) -> None:
        self.folder = folder
        self.rows = self.client(folder).get_collection("rows", embedding_function=None)

    def search(self, queries: np.ndarray, parameter: int) -> np.ndarray:
        where = None if self.below is None else {"draw": {"$lt": self.below}}
        if parameter != self.ef:
            # A new ef counts only once the collection is loaded again.
            self.rows.modify(configuration={"hnsw": {"ef_search": parameter}})
            self.load("chromadb.api.client").SharedSystemClient.clear_system_cache()
            self.open(self.folder)
            self.rows.query(query_embeddings=queries[:1], n_results=K, include=[])
            self.ef = parameter
        found = self.rows.query(query_embeddings=queries, n_results=K, include=[], where=where)["ids"]
        return padded([[int(id) for id in ids] for ids in found])


class SqliteVec(Peer):
    """The vec0 table: every row is compared, there is no index."""

    packages = ("sqlite-vec", "pysqlite3-binary")
    batch = False
    parameters = (0,)

    def __init__(self, dim: int, metric: str, threads: int) -> None:
        super().__init__(dim, metric, threads)
        # The sqlite3 of many Python builds cannot load extensions; this one can.
        self.sqlite, self.vec = self.load("pysqlite3"), self.load("sqlite_vec")

    def connect(self, folder: Path):
        connection = self.sqlite.connect(str(folder / "db"))
        connection.enable_load_extension(True)
        self.vec.load(connection)
        return connection

    def build(self, train: np.ndarray, folder: Path) -> None:
        connection = self.connect(folder)
        connection.execute(f"CREATE VIRTUAL TABLE rows USING vec0(v float[{self.dim}] distance_metric={self.metric})")
        with connection:
            rows = ((number, row.tobytes()) for number, row in enumerate(train))
            connection.executemany("INSERT INTO rows(rowid, v) VALUES (?, ?)", rows)
        connection.close()

    def open(self, folder: Path) -> None:
        self.connection = self.connect(folder)

    def search_one(self, query: np.ndarray, parameter) -> np.ndarray:
        asked = "SELECT rowid FROM rows WHERE v MATCH ? AND k = ? ORDER BY distance"
        return np.array([row[0] for row in self.connection.execute(asked, (query.tobytes(), K))])


class DuckDbVss(Peer):
    packages = ("duckdb==1.5.5", "duckdb-extension-vss==1.5.5")
    batch = False
    parameters = FEW

    def __init__(self, dim: int, metric: str, threads: int) -> None:
        super().__init__(dim, metric, threads)
        self.duckdb, self.ef = self.load("duckdb"), None
        self.extension = self.load("duckdb_extension_vss")

    def connect(self, folder: Path):
        connection = self.duckdb.connect(str(folder / "db"), config={"threads": self.threads})
        (vss,) = Path(self.extension.__file__).parent.glob(f"extensions/v{self.duckdb.__version__}/vss.duckdb_extension")
        connection.execute(f"LOAD '{vss}'; SET hnsw_enable_experimental_persistence = true")
        return connection

    def build(self, train: np.ndarray, folder: Path) -> None:
        arrow = self.load("pyarrow")
        connection = self.connect(folder)
        connection.execute(f"CREATE TABLE rows(id BIGINT, v FLOAT[{self.dim}])")
        for start, part in batches(train):
            vectors = arrow.FixedSizeListArray.from_arrays(arrow.array(part.reshape(-1)), self.dim)
            table = arrow.table({"id": arrow.array(np.arange(start, start + len(part))), "v": vectors})
            connection.register("part", table)
            connection.execute("INSERT INTO rows SELECT * FROM part")
        metric = {"l2": "l2sq", "cosine": "cosine"}[self.metric]
        connection.execute(
            f"CREATE INDEX graph ON rows USING HNSW (v) WITH (metric = '{metric}', M = 16, M0 = 32, ef_construction = 200)"
        )
        connection.close()

    def open(self, folder: Path) -> None:
        self.connection = self.connect(folder)

    def search_one(self, query: np.ndarray, parameter: int) -> np.ndarray:
        if parameter != self.ef:
            self.connection.execute(f"SET hnsw_ef_search = {parameter}")
            self.ef = parameter
        distance = {"l2": "array_distance", "cosine": "array_cosine_distance"}[self.metric]
        asked = f"SELECT id FROM rows ORDER BY {distance}(v, ?::FLOAT[{self.dim}]) LIMIT {K}"
        return np.array([row[0] for row in self.connection.execute(asked, [query]).fetchall()])
