"""nearfield in ann-benchmarks: the bare index, and a collection of a database.

Belongs at `ann_benchmarks/algorithms/nearfield/module.py` there.
"""

import shutil
import tempfile

import nearfield
import numpy as np

from ..base.module import BaseANN

METRICS = {"angular": "cosine", "euclidean": "l2"}


class NearfieldIndex(BaseANN):
    """The index alone, in memory: rows are numbered from 0 in the order in which they come."""

    def __init__(self, metric, method_param):
        self.metric = METRICS[metric]
        self.method_param = method_param
        self.name = f"nearfield ({method_param})"

    def fit(self, X):
        self.index = nearfield.Index(
            X.shape[1],
            self.metric,
            m=self.method_param["M"],
            ef_construction=self.method_param["efConstruction"],
        )
        self.index.add(np.ascontiguousarray(X, dtype=np.float32))
        self.index.build()

    def set_query_arguments(self, ef):
        self.ef = ef
        self.name = f"nearfield ({self.method_param}, ef: {ef})"

    def query(self, v, n):
        ids, _ = self.index.search(v, n, ef=self.ef)
        return ids

    def batch_query(self, X, n):
        self.res, _ = self.index.search_batch(X, n, ef=self.ef)

    def get_batch_results(self):
        return [[id for id in row if id >= 0] for row in self.res]


class NearfieldCollection(BaseANN):
    """A collection on disk, merged into one segment with a graph; searched through its mapped file."""

    def __init__(self, metric, method_param):
        self.metric = METRICS[metric]
        self.method_param = method_param
        self.name = f"nearfield-collection ({method_param})"

    def fit(self, X):
        self.folder = tempfile.mkdtemp(prefix="nearfield-")
        self.db = nearfield.open(
            f"{self.folder}/ann.nf",
            durability="none",
            m=self.method_param["M"],
            ef_construction=self.method_param["efConstruction"],
        )
        self.rows = self.db.collection("rows", dim=X.shape[1], metric=self.metric)
        self.rows.upsert(np.arange(len(X)), np.ascontiguousarray(X, dtype=np.float32))
        self.rows.compact()

    def set_query_arguments(self, ef):
        self.ef = ef
        self.name = f"nearfield-collection ({self.method_param}, ef: {ef})"

    def query(self, v, n):
        return self.rows.search(v, n, ef=self.ef, select=()).ids

    def batch_query(self, X, n):
        self.res = self.rows.search_batch(X, n, ef=self.ef).ids

    def get_batch_results(self):
        return [[id for id in row if id >= 0] for row in self.res]

    def done(self):
        self.db.close()
        shutil.rmtree(self.folder)
