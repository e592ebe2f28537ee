"""The names by which peers are asked for: `NAME`, or `NAME:A:B` with the settings that the class takes."""

from __future__ import annotations

from databases import Chroma, DuckDbVss, LanceDb, Nearfield, NearfieldIndex, QdrantEdge, SqliteVec, Zvec
from libraries import Faiss, Glass, Hnswlib, Peer, RabitqHnsw, Symqg, Usearch

PEERS: dict[str, tuple[type[Peer], tuple]] = {
    "nearfield": (Nearfield, ()),
    "nearfield-index": (NearfieldIndex, ()),
    # A graph even where a collection would be scanned by default, because it is small.
    "nearfield-graph": (Nearfield, ("auto", 0)),
    "hnswlib": (Hnswlib, ()),
    "faiss": (Faiss, ("HNSW32,Flat",)),
    "faiss-sq8": (Faiss, ("HNSW32_SQ8",)),
    "faiss-sq8-refine": (Faiss, ("HNSW32_SQ8,RFlat",)),
    "usearch-f32": (Usearch, ("f32",)),
    "usearch-f16": (Usearch, ("f16",)),
    "usearch-i8": (Usearch, ("i8",)),
    "glass-sq8": (Glass, (1,)),
    "glass-sq4": (Glass, (2,)),
    "symqg": (Symqg, ()),
    "symqg-8bit": (Symqg, (8,)),
    "rabitq-hnsw": (RabitqHnsw, ()),
    "zvec": (Zvec, ("none",)),
    "zvec-int8": (Zvec, ("INT8",)),
    "qdrant-edge": (QdrantEdge, ("none",)),
    "qdrant-edge-int8": (QdrantEdge, ("int8",)),
    "qdrant-edge-4bit": (QdrantEdge, ("4bit",)),
    "lancedb-hnsw-sq": (LanceDb, ("hnsw-sq",)),
    "lancedb-ivf-pq": (LanceDb, ("ivf-pq",)),
    "chroma": (Chroma, ()),
    "sqlite-vec": (SqliteVec, ()),
    "duckdb-vss": (DuckDbVss, ()),
}

SLOW = ("lancedb-hnsw-sq", "lancedb-ivf-pq", "chroma", "sqlite-vec", "duckdb-vss")
"""Milliseconds a query."""
EXTRA = ("nearfield-graph", "symqg-8bit", "rabitq-hnsw", "zvec")
"""Variants that never were the best of their library, or that answer another question."""

GROUPS: dict[str, tuple[str, ...]] = {
    "fast": tuple(name for name in PEERS if name not in SLOW + EXTRA),
    "slow": SLOW,
    "all": tuple(PEERS),
    # Whether M = 16 and ef_construction = 200 are a fair choice.
    "hnswlib-sweep": tuple(f"hnswlib:{m}:{ef}" for m in (12, 16, 24, 32) for ef in (100, 200, 400)),
}

SAME_INDEX = {"glass-sq8": "glass-sq4"}
"""Peers that answer from the files of another one, which differ in nothing."""


def expand(asked: str) -> list[str]:
    """The names in a comma-separated list of names and groups, each once."""
    names: dict[str, None] = {}
    for word in asked.split(","):
        for name in GROUPS.get(word, (word,)):
            if name.split(":")[0] not in PEERS:
                known = ", ".join([*GROUPS, *PEERS])
                raise SystemExit(f"there is no peer {name!r}; there are {known}")
            names[name] = None
    return list(names)


def kind(name: str) -> type[Peer]:
    return PEERS[name.split(":")[0]][0]


def make(name: str, dim: int, metric: str, threads: int) -> Peer:
    base, *settings = name.split(":")
    peer, usual = PEERS[base]
    return peer(dim, metric, threads, *(settings or usual))
