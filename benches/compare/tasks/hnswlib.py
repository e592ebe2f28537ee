"""The five steps with hnswlib: the vectors in its file, texts and years in SQLite beside it."""

import os
import sqlite3

import hnswlib


def create(path, dim):
    os.makedirs(path)
    index = hnswlib.Index("cosine", dim)
    index.init_index(max_elements=0)
    return path, index, rows(path)


def add(store, ids, texts, years, vectors):
    _, index, db = store
    index.resize_index(index.get_current_count() + len(ids))
    index.add_items(vectors, ids)
    db.executemany("INSERT INTO chunks VALUES (?, ?, ?)", zip(ids, texts, years))


def search(store, query, k, since):
    _, index, db = store
    texts = dict(db.execute("SELECT id, text FROM chunks WHERE year >= ?", [since]))
    k = min(k, len(texts))
    index.set_ef(max(100, k))
    found, _ = index.knn_query(query, k, filter=lambda id: id in texts)
    return [(int(id), texts[id]) for id in found[0]]


def change(store, id, text):
    store[2].execute("UPDATE chunks SET text = ? WHERE id = ?", [text, id])


def remove(store, id):
    store[1].mark_deleted(id)
    store[2].execute("DELETE FROM chunks WHERE id = ?", [id])


def close(store):
    path, index, db = store
    index.save_index(f"{path}/vectors.bin")
    db.commit()
    db.close()


def reopen(path):
    index = hnswlib.Index("cosine", 384)  # its file does not say
    index.load_index(f"{path}/vectors.bin")
    return path, index, rows(path)


def rows(path):
    db = sqlite3.connect(f"{path}/rows.db")
    db.execute("CREATE TABLE IF NOT EXISTS chunks (id INTEGER PRIMARY KEY, text TEXT, year INTEGER)")
    return db
