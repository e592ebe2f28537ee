"""The five steps with nearfield."""

import nearfield as nf


def create(path, dim):
    return nf.open(path).collection("chunks", dim=dim)


def add(docs, ids, texts, years, vectors):
    docs.add(ids, vectors, {"text": texts, "year": years})


def search(docs, query, k, since):
    return [(hit.id, hit["text"]) for hit in docs.search(query, k, where=nf.col("year") >= since)]


def change(docs, id, text):
    docs.update([id], {"text": [text]})


def remove(docs, id):
    docs.delete([id])


def close(docs):
    docs.database.close()


def reopen(path):
    return nf.open(path)["chunks"]
