"""The five steps with LanceDB."""

import lancedb
import pyarrow as pa


def create(path, dim):
    kinds = {"id": pa.int64(), "text": pa.string(), "year": pa.int64(), "vector": pa.list_(pa.float32(), dim)}
    return lancedb.connect(path).create_table("chunks", schema=pa.schema(kinds))


def add(table, ids, texts, years, vectors):
    rows = zip(ids, texts, years, vectors)
    table.add([{"id": id, "text": text, "year": year, "vector": vector} for id, text, year, vector in rows])


def search(table, query, k, since):
    found = table.search(query).distance_type("cosine").where(f"year >= {since}").limit(k).to_list()
    return [(row["id"], row["text"]) for row in found]


def change(table, id, text):
    table.update(where=f"id = {id}", values={"text": text})


def remove(table, id):
    table.delete(f"id = {id}")


def close(table):
    """A table has nothing to close: each call has written what it did."""


def reopen(path):
    return lancedb.connect(path).open_table("chunks")
