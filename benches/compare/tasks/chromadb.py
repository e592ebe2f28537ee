"""The five steps with Chroma."""

import chromadb


def create(path, dim):
    client = chromadb.PersistentClient(path)
    space = {"hnsw": {"space": "cosine"}}
    return client, client.create_collection("chunks", configuration=space, embedding_function=None)


def add(store, ids, texts, years, vectors):
    metadatas = [{"year": year} for year in years]
    store[1].add(ids=[str(id) for id in ids], embeddings=vectors, documents=texts, metadatas=metadatas)


def search(store, query, k, since):
    found = store[1].query(query_embeddings=[query], n_results=k, where={"year": {"$gte": since}})
    return [(int(id), text) for id, text in zip(found["ids"][0], found["documents"][0])]


def change(store, id, text):
    # A document does not change without an embedding.
    same = store[1].get(ids=[str(id)], include=["embeddings"])["embeddings"]
    store[1].update(ids=[str(id)], embeddings=same, documents=[text])


def remove(store, id):
    store[1].delete(ids=[str(id)])


def close(store):
    store[0].close()


def reopen(path):
    client = chromadb.PersistentClient(path)
    return client, client.get_collection("chunks", embedding_function=None)
