"""The five steps with zvec, whose writes return a status where others raise."""

import zvec


def create(path, dim):
    text = zvec.FieldSchema("text", zvec.DataType.STRING)
    year = zvec.FieldSchema("year", zvec.DataType.INT64)
    index = zvec.HnswIndexParam(zvec.MetricType.COSINE)
    vector = zvec.VectorSchema("vector", zvec.DataType.VECTOR_FP32, dim, index)
    return zvec.create_and_open(path, zvec.CollectionSchema("chunks", fields=[text, year], vectors=[vector]))


def add(chunks, ids, texts, years, vectors):
    rows = zip(ids, texts, years, vectors)
    check(chunks.insert([
        zvec.Doc(str(id), vectors={"vector": vector}, fields={"text": text, "year": year})
        for id, text, year, vector in rows
    ]))


def search(chunks, query, k, since):
    found = chunks.query(zvec.Query("vector", vector=query), topk=k, filter=f"year >= {since}", output_fields=["text"])
    return [(int(doc.id), doc.field("text")) for doc in found]


def change(chunks, id, text):
    check(chunks.update([zvec.Doc(str(id), fields={"text": text})]))


def remove(chunks, id):
    check(chunks.delete([str(id)]))


def close(chunks):
    chunks.close()


def reopen(path):
    return zvec.open(path)


def check(statuses):
    for status in statuses:
        if not status.ok():
            raise RuntimeError(status.message())
