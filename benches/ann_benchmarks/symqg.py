"""SymphonyQG by its authors' own package, rabitqlib, for ann-benchmarks, which has no module of it.

Belongs at `ann_benchmarks/algorithms/symqg/module.py` there.
"""

import numpy as np
from rabitqlib import SymqgIndex

from ..base.module import BaseANN


class Symqg(BaseANN):
    def __init__(self, metric, method_param):
        self.angular = metric == "angular"
        self.method_param = method_param
        self.name = f"symqg ({method_param})"

    def wide(self, X):
        """Of length 1 for cosine, and filled up with zeros to a multiple of 64, which its rotation needs."""
        X = np.ascontiguousarray(X, dtype=np.float32)
        if self.angular:
            X = X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        return np.pad(X, ((0, 0), (0, -X.shape[1] % 64)))

    def fit(self, X):
        X = self.wide(X)
        self.index = SymqgIndex(X.shape[1], self.method_param["degree"], "ip" if self.angular else "l2", 0)
        self.index.build(X, ef_construction=self.method_param["efConstruction"], num_threads=0)

    def set_query_arguments(self, ef):
        self.ef = ef
        self.name = f"symqg ({self.method_param}, ef: {ef})"

    def query(self, v, n):
        return self.index.search_batch(self.wide(v[None]), n, max(self.ef, n), 1)[0].reshape(-1)[:n]

    def batch_query(self, X, n):
        self.res = self.index.search_batch(self.wide(X), n, max(self.ef, n), 0)[0].reshape(len(X), -1)

    def get_batch_results(self):
        return self.res
