"""The five steps with Qdrant Edge."""

import qdrant_edge as edge


def create(path, dim):
    vectors = edge.EdgeVectorParams(size=dim, distance=edge.Distance.Cosine)
    return edge.EdgeShard.create(path, edge.EdgeConfig(vectors=vectors))


def add(shard, ids, texts, years, vectors):
    rows = zip(ids, texts, years, vectors.tolist())
    points = [edge.Point(id, vector, {"text": text, "year": year}) for id, text, year, vector in rows]
    shard.update(edge.UpdateOperation.upsert_points(points))


def search(shard, query, k, since):
    recent = edge.Filter(must=[edge.FieldCondition("year", range=edge.RangeFloat(gte=since))])
    nearest = edge.Query.Nearest(query.tolist())
    found = shard.query(edge.QueryRequest(limit=k, query=nearest, filter=recent, with_payload=True))
    return [(point.id, point.payload["text"]) for point in found]


def change(shard, id, text):
    shard.update(edge.UpdateOperation.set_payload([id], {"text": text}))


def remove(shard, id):
    shard.update(edge.UpdateOperation.delete_points([id]))


def close(shard):
    shard.close()


def reopen(path):
    return edge.EdgeShard.load(path)
