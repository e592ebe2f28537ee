"""nearfield as a client of VectorDBBench.

Loading writes; `optimize` merges everything into one segment with a graph and leaves a mark beside
the database. From then on every process that searches opens it to read, beside all the others.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nearfield
import numpy as np
from pydantic import BaseModel
from vectordb_bench.backend.clients.api import DBCaseConfig, DBConfig, MetricType, VectorDB
from vectordb_bench.backend.payload import PayloadProfile

METRICS = {MetricType.L2: "l2", MetricType.COSINE: "cosine", MetricType.IP: "dot"}


class NearfieldConfig(DBConfig):
    """Where the database is."""

    path: str

    def to_dict(self) -> dict:
        return {"path": self.path}


class NearfieldIndexConfig(BaseModel, DBCaseConfig):
    """Parameters of the graph and of searches."""

    metric_type: MetricType | None = None
    m: int = 16
    ef_construction: int = 200
    ef_search: int = 200

    def index_param(self) -> dict:
        return {"m": self.m, "ef_construction": self.ef_construction}

    def search_param(self) -> dict:
        return {"ef": self.ef_search}


class Nearfield(VectorDB):
    """A collection of ids and vectors."""

    name = "nearfield"
    thread_safe = True

    def __init__(
        self,
        dim: int,
        db_config: dict,
        db_case_config: NearfieldIndexConfig,
        collection_name: str = "vectors",
        drop_old: bool = False,
        **_kwargs: object,
    ) -> None:
        self.path = Path(db_config["path"])
        self.collection_name = collection_name
        self.settings = db_case_config.index_param()
        self.search = db_case_config.search_param()
        self.shape = {"dim": dim, "metric": METRICS[db_case_config.metric_type or MetricType.L2]}
        self.ready = self.path.with_suffix(".ready")
        self.docs: nearfield.Collection | None = None
        if drop_old:
            self.ready.unlink(missing_ok=True)
            shutil.rmtree(self.path, ignore_errors=True)

    @contextmanager
    def init(self) -> Iterator[None]:
        if self.ready.exists():
            db = nearfield.open(self.path, mode="r")
            self.docs = db[self.collection_name]
        else:
            db = nearfield.open(self.path, durability="buffered", **self.settings)
            self.docs = db.collection(self.collection_name, **self.shape)
        try:
            yield
        finally:
            self.docs = None
            db.close()

    def insert_embeddings(
        self,
        embeddings: list[list[float]],
        metadata: list[int],
        labels_data: list[str] | None = None,
        tenant_labels_data: list[str] | None = None,
        **_kwargs: object,
    ) -> tuple[int, Exception | None]:
        assert self.docs is not None
        try:
            return self.docs.upsert(metadata, np.asarray(embeddings, np.float32)), None
        except nearfield.Error as error:
            return 0, error

    def optimize(self, data_size: int | None = None) -> None:
        assert self.docs is not None
        self.docs.compact()
        self.ready.touch()

    def search_embedding(
        self,
        query: list[float],
        k: int = 100,
        payload_profile: PayloadProfile = PayloadProfile.IDS_ONLY,
        tenant: str | None = None,
    ) -> list[int]:
        assert self.docs is not None
        query = np.asarray(query, np.float32)
        return self.docs.search(query, k, select=(), **self.search).ids.tolist()
