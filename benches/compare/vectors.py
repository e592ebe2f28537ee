"""The data: rows, queries and the distance of each query's exact neighbours.

A set is a folder with `train` and `queries` as .npy (`train.npy`, `train.f16.npy`, `train.u8.npy`; or the gzipped idx
file of Fashion-MNIST), `distances.npy` (exact, ascending; l2 not squared, cosine as 1 - cos) and `meta.json`, which
names the metric. Other queries of the same set, `queries_NAME.*`, have their neighbours in `distances_NAME.npy`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from libraries import DRAWS, K, draws

BLOCK = 65_536
"""Rows that are compared with all queries at once."""


class Set:
    def __init__(
        self,
        folder: Path,
        cache: Path,
        queries: str | None,
        rows: int | None,
        count: int | None,
        below: int | None = None,
    ) -> None:
        if not (folder / "meta.json").exists():
            raise SystemExit(f"{folder} holds no meta.json: name a folder of vectors, or set NEARFIELD_DATA for --set")
        meta = json.loads((folder / "meta.json").read_text())
        self.name, self.metric, self.cache = meta.get("name", folder.name), meta["metric"], cache
        whole = rows_of(folder)
        self.stored = whole[:rows]
        path = Path(queries) if queries else one(folder, "queries")
        path = path if path.exists() else folder / path
        self.below = below
        self.counts = np.ones(len(self.stored), bool) if below is None else draws(len(self.stored)) < below
        if self.counts.sum() < K:
            raise SystemExit(f"only {self.counts.sum()} rows have a draw below {below} of {DRAWS}; at least {K} are needed")
        self.asked = np.load(path)[:count].astype(np.float32)
        self.which = path.name.split(".")[0]
        exact = folder / f"{self.which.replace('queries', 'distances')}.npy"
        if len(self.stored) == len(whole) and below is None and exact.exists():
            self.worst = np.load(exact)[: len(self.asked), K - 1].astype(np.float64)
        else:
            self.worst = self.exact()

    @property
    def label(self) -> str:
        """A name for files: the set, how many rows of it, and its queries where they are not the usual ones."""
        words = [self.name, str(len(self.stored))] + [self.which] * (self.which != "queries")
        return "-".join(words + [f"below-{self.below}"] * (self.below is not None))

    def file(self, what: str, rows: np.ndarray) -> Path:
        """The rows as float32 in a file, for the workers."""
        key = hashlib.sha256(rows[:: max(1, len(rows) // 1_000)].tobytes()).hexdigest()[:12]
        path = self.cache / f"{what}-{len(rows)}x{rows.shape[1]}-{key}.npy"
        if not path.exists():
            unfinished = path.with_suffix(".part")
            target = np.lib.format.open_memmap(unfinished, "w+", np.float32, rows.shape)
            for start in range(0, len(rows), BLOCK):
                target[start : start + BLOCK] = rows[start : start + BLOCK]
            target.flush()
            unfinished.rename(path)
        return path

    def distances(self, ids: np.ndarray) -> np.ndarray:
        """Distance of each found row to its query, in float64 from the stored values; infinite where id is -1 or its
        row does not pass the filter."""
        found = self.stored[np.clip(ids, 0, len(self.stored) - 1)].astype(np.float64)
        asked = self.asked[: len(ids), None, :].astype(np.float64)
        if self.metric == "l2":
            far = np.sqrt(((found - asked) ** 2).sum(-1))
        else:
            far = 1 - (found * asked).sum(-1) / (np.linalg.norm(found, axis=-1) * np.linalg.norm(asked, axis=-1))
        there = (ids >= 0) & (ids < len(self.stored))
        return np.where(there & self.counts[np.clip(ids, 0, len(self.stored) - 1)], far, np.inf)

    def recall(self, ids: np.ndarray) -> float:
        """Part of the K that are as near as the exact K-th; ties are hits, a row found twice is one."""
        limit = self.worst[: len(ids)] * (1 + 1e-6) + (1e-7 if self.metric == "cosine" else 0)
        near = self.distances(ids) <= limit[:, None]
        twice = np.array([[id in row[:at] for at, id in enumerate(row)] for row in ids.tolist()])
        return float((near & ~twice).sum() / (len(ids) * K))

    def exact(self) -> np.ndarray:
        """Distance of each query's K-th neighbour, computed once and kept in the cache."""
        key = hashlib.sha256(self.asked.tobytes()).hexdigest()[:12]
        path = self.cache / f"exact-{self.label}-{len(self.asked)}-{key}.npy"
        if path.exists():
            return np.load(path)
        print(f"{self.label}: exact neighbours of {len(self.asked)} queries, kept in {path}", file=sys.stderr)
        asked = self.asked if self.metric == "l2" else self.asked / np.linalg.norm(self.asked, axis=1, keepdims=True)
        best = np.zeros((len(asked), 0), np.int64)
        scores = np.zeros((len(asked), 0), np.float32)
        for start in range(0, len(self.stored), BLOCK):
            rows = self.stored[start : start + BLOCK].astype(np.float32)
            if self.metric == "cosine":
                rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
            near = -2 * (asked @ rows.T)
            if self.metric == "l2":
                near += (rows.astype(np.float64) ** 2).sum(1)
            near[:, ~self.counts[start : start + BLOCK]] = np.inf
            # More than K: float32 sums may swap neighbours.
            kept = np.argpartition(near, min(4 * K, near.shape[1] - 1), axis=1)[:, : 4 * K]
            best = np.concatenate([best, kept + start], axis=1)
            scores = np.concatenate([scores, np.take_along_axis(near, kept, 1)], axis=1)
            order = np.argsort(scores, axis=1)[:, : 4 * K]
            best, scores = np.take_along_axis(best, order, 1), np.take_along_axis(scores, order, 1)
        worst = np.sort(self.distances(best), axis=1)[:, K - 1]
        np.save(path, worst)
        return worst


def one(folder: Path, name: str) -> Path:
    """`name.npy`, or `name.TYPE.npy`."""
    found = sorted([*folder.glob(f"{name}.npy"), *folder.glob(f"{name}.*.npy")])
    if not found:
        raise SystemExit(f"{folder} holds no {name}.npy, {name}.f16.npy or {name}.u8.npy")
    return found[0]


def rows_of(folder: Path) -> np.ndarray:
    images = folder / "train-images-idx3-ubyte.gz"
    if images.exists():
        data = gzip.decompress(images.read_bytes())
        count, height, width = np.frombuffer(data, ">u4", 3, 4)
        return np.frombuffer(data, np.uint8, offset=16).reshape(int(count), int(height * width))
    return np.load(one(folder, "train"), mmap_mode="r")
