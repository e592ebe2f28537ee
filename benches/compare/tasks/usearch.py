"""The five steps with usearch: the vectors in its file, texts and years in SQLite beside it.

It has no filters: all vectors are asked for, and those whose row is not wanted left out.
"""

import os
import sqlite3

from usearch.index import Index


def create(path, dim):
    os.makedirs(path)
    return path, Index(ndim=dim, metric="cos", dtype="f32"), rows(path)


def add(store, ids, texts, years, vectors):
    _, index, db = store
    index.add(ids, vectors)
    db.executemany("INSERT INTO chunks VALUES (?, ?, ?)", zip(ids, texts, years))


def search(store, query, k, since):
    _, index, db = store
    texts = dict(db.execute("SELECT id, text FROM chunks WHERE year >= ?", [since]))
    found = index.search(query, len(index))
    return [(int(id), texts[id]) for id in found.keys if id in texts][:k]


def change(store, id, text):
    store[2].execute("UPDATE chunks SET text = ? WHERE id = ?", [text, id])


def remove(store, id):
    store[1].remove(id)
    store[2].execute("DELETE FROM chunks WHERE id = ?", [id])


def close(store):
    path, index, db = store
    index.save(f"{path}/vectors.usearch")
    db.commit()
    db.close()


def reopen(path):
    return path, Index.restore(f"{path}/vectors.usearch"), rows(path)


def rows(path):
    db = sqlite3.connect(f"{path}/rows.db")
    db.execute("CREATE TABLE IF NOT EXISTS chunks (id INTEGER PRIMARY KEY, text TEXT, year INTEGER)")
    return db
