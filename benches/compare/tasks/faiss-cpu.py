"""The five steps with faiss: the vectors in its file, texts and years in SQLite beside it.

Its graphs cannot remove: a vector whose row is gone is never allowed.
"""

import os
import sqlite3

import faiss
import numpy as np


def create(path, dim):
    os.makedirs(path)
    index = faiss.index_factory(dim, "IDMap2,HNSW32,Flat", faiss.METRIC_INNER_PRODUCT)
    return path, index, rows(path)


def add(store, ids, texts, years, vectors):
    _, index, db = store
    index.add_with_ids(unit(vectors), np.array(ids))
    db.executemany("INSERT INTO chunks VALUES (?, ?, ?)", zip(ids, texts, years))


def search(store, query, k, since):
    _, index, db = store
    texts = dict(db.execute("SELECT id, text FROM chunks WHERE year >= ?", [since]))
    allowed = faiss.IDSelectorBatch(list(texts))
    _, found = index.search(unit([query]), k, params=faiss.SearchParametersHNSW(sel=allowed, efSearch=max(100, k)))
    return [(int(id), texts[id]) for id in found[0] if id >= 0]


def change(store, id, text):
    store[2].execute("UPDATE chunks SET text = ? WHERE id = ?", [text, id])


def remove(store, id):
    store[2].execute("DELETE FROM chunks WHERE id = ?", [id])


def close(store):
    path, index, db = store
    faiss.write_index(index, f"{path}/vectors.faiss")
    db.commit()
    db.close()


def reopen(path):
    return path, faiss.read_index(f"{path}/vectors.faiss"), rows(path)


def rows(path):
    db = sqlite3.connect(f"{path}/rows.db")
    db.execute("CREATE TABLE IF NOT EXISTS chunks (id INTEGER PRIMARY KEY, text TEXT, year INTEGER)")
    return db


def unit(vectors):
    vectors = np.array(vectors, np.float32)
    faiss.normalize_L2(vectors)
    return vectors
