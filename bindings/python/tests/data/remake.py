"""Makes the directories of other libraries that test_migrate.py reads, each with what its library says is in it.

    python remake.py chroma        # chroma-VERSION.zip, by the chromadb that is installed
    python remake.py qdrant        # qdrant-VERSION.zip, by qdrant-client

`rows` and `answers` are what the library reads back and finds: test_migrate.py compares. What Chroma's files have behind
their last vector is memory that it never wrote to, and is blanked.
"""

from __future__ import annotations

import importlib.metadata
import json
import struct
import sys
import tempfile
import uuid
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent


def chroma(path: Path) -> dict[str, Any]:
    """Collections of every kind of state: vectors in the graph, in the log alone, changed behind the graph."""
    import chromadb

    client = chromadb.PersistentClient(str(path), chromadb.Settings(anonymized_telemetry=False))
    rng = np.random.default_rng(7)
    said = {}
    graph = {"hnsw:space": "cosine", "hnsw:sync_threshold": 30, "hnsw:batch_size": 10, "about": "books"}
    for name, metadata, rows, dim in [
        ("graph", graph, 50, 6),
        ("log", None, 12, 4),
        ("inner", {"hnsw:space": "ip"}, 9, 3),
    ]:
        docs = client.create_collection(name, metadata=metadata, embedding_function=None)
        vectors = rng.normal(size=(rows, dim)).astype(np.float32)
        ids = [f"r{row}" for row in range(rows)]
        metadatas = [
            {
                "n": row,
                "half": row / 2,
                "word": f"w{row % 5}",
                "even": row % 2 == 0,
                "mixed": row if row % 3 else "text",
            }
            for row in range(rows)
        ]
        # One by one, for then each is in the graph as soon as the thresholds are reached.
        for row in range(rows):
            docs.add(ids[row], vectors[row].tolist(), [metadatas[row]], [f"Text {row}, élan."])
        docs.delete(["r3", f"r{rows - 1}"])
        docs.update(["r5"], embeddings=[[1.0] * dim], metadatas=[{"n": 500, "new": "x"}])
        docs.update(["r6"], embeddings=[[-1.0] * dim], documents=["another text"])
        docs.upsert(
            ["r7", "u1"], embeddings=[[2.0] * (dim - 1) + [1.0], [3.0] + [-1.0] * (dim - 1)], documents=["seven", "u"]
        )
        docs.add(["r8"], embeddings=[[9.0] * dim])  # There already: not taken.
        if name == "log":
            docs.add(["uri"], embeddings=[[0.5] * dim], uris=["file://there"])
        said[name] = chroma_says(docs, rng.normal(size=(4, dim)).astype(np.float32))
    client.create_collection("empty", embedding_function=None)
    if int(chromadb.__version__.split(".")[0]) >= 1:
        docs = client.create_collection(
            "lists", embedding_function=None, configuration={"hnsw": {"space": "cosine", "ef_search": 50}}
        )
        docs.add(
            ["a", "b"], embeddings=[[1, 2, 3], [4, 5, 7]], metadatas=[{"tags": ["x", "y"]}, {"tags": ["z"], "k": 1}]
        )
        said["lists"] = chroma_says(docs, rng.normal(size=(4, 3)).astype(np.float32))
    blank(path)
    return said


def blank(path: Path) -> None:
    """Zeros for what is behind the last vector."""
    for header in path.glob("*/header.bin"):
        _, _, _, count, block = struct.unpack_from("<i4Q", header.read_bytes())
        whole = (header.parent / "index_metadata.pickle").exists()
        for name, size in [("data_level0.bin", block), ("length.bin", 4)]:
            file = header.with_name(name)
            data, kept = file.read_bytes(), size * count if whole else 0
            file.write_bytes(data[:kept].ljust(len(data), b"\0"))


def chroma_says(docs: Any, queries: Any) -> dict[str, Any]:
    got = docs.get(include=["embeddings", "documents", "metadatas", "uris"])
    answers = docs.query(query_embeddings=queries.tolist(), n_results=8)
    return {
        "metadata": docs.metadata,
        "rows": {
            "ids": got["ids"],
            "embeddings": np.asarray(got["embeddings"], np.float32).tolist(),
            "documents": got["documents"],
            "metadatas": [metadata or None for metadata in got["metadatas"]],
            "uris": got["uris"],
        },
        "queries": queries.tolist(),
        "answers": {"ids": answers["ids"], "distances": answers["distances"]},
    }


def qdrant(path: Path) -> dict[str, Any]:
    """A collection with one vector a point and ids that are numbers, one with named ones and UUIDs."""
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=str(path))
    rng = np.random.default_rng(3)
    euclid = models.VectorParams(size=4, distance=models.Distance.EUCLID)
    dot = models.VectorParams(size=3, distance=models.Distance.DOT)
    client.create_collection("plain", models.VectorParams(size=4, distance=models.Distance.COSINE))
    client.create_collection(
        "named", {"a": euclid, "b": dot}, sparse_vectors_config={"words": models.SparseVectorParams()}
    )
    for n in range(20):
        payload = {
            "n": n, "city": f"c{n % 3}", "at": {"lon": 1.5, "lat": n}, "tags": ["a", "b"], "nums": [1, n],
            "mixed": n if n % 2 else "s", "score": n / 2,
        }  # fmt: skip
        if n % 5:
            payload["sometimes"] = n if n % 2 else n / 2
        client.upsert("plain", [models.PointStruct(id=n, vector=rng.normal(size=4).tolist(), payload=payload)])
        words = models.SparseVector(indices=[1, n + 2], values=[0.5, 1.0])
        vectors: Any = {"a": rng.normal(size=4).tolist(), "b": rng.normal(size=3).tolist(), "words": words}
        client.upsert("named", [models.PointStruct(id=str(uuid.UUID(int=n)), vector=vectors, payload={"n": n})])
    client.delete("plain", [3])
    client.set_payload("plain", {"city": "new"}, [4])
    said = {}
    for name, of, dim in [("plain", None, 4), ("named", "a", 4)]:
        points, _ = client.scroll(name, limit=100, with_vectors=True)
        queries = rng.normal(size=(4, dim)).tolist()
        answers = [client.query_points(name, query, using=of, limit=8).points for query in queries]
        said[name] = {
            "rows": [
                {"id": point.id, "vector": point.vector if of is None else point.vector[of], "payload": point.payload}
                for point in points
            ],
            "queries": queries,
            "answers": [[point.id for point in found] for found in answers],
        }
    client.close()
    return said


def main() -> None:
    kind = sys.argv[1]
    version = importlib.metadata.version({"chroma": "chromadb", "qdrant": "qdrant-client"}[kind])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / kind
        said = {"chroma": chroma, "qdrant": qdrant}[kind](path)
        with zipfile.ZipFile(HERE / f"{kind}-{version}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.writestr("says.json", json.dumps(said))
            for file in sorted(path.rglob("*")):
                if file.is_file() and file.name != ".lock":
                    archive.write(file, file.relative_to(path))


if __name__ == "__main__":
    main()
