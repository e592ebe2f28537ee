# %% [markdown]
# # nearfield in five minutes
# Each `# %%` is a cell for editors that know them; the file is a program as well.

# %%
import tempfile
from pathlib import Path

import numpy as np

import nearfield as nf

folder = Path(tempfile.mkdtemp())
db = nf.open(folder / "quickstart.nf")  # a directory; created if it is absent
db

# %% [markdown]
# ## Vectors
# Any array of numbers. Columns come from the data, and new ones may come later.

# %%
rng = np.random.default_rng(0)
vectors = rng.normal(size=(1000, 64)).astype(np.float32)
docs = db.collection("docs", dim=64, metric="cosine")
docs.upsert(
    np.arange(1000),
    vectors,
    {"title": [f"document {i}" for i in range(1000)], "year": [2000 + i % 25 for i in range(1000)]},
)
docs

# %% [markdown]
# ## Search
# Distances ascend and scores descend, always; a hit has both.

# %%
hits = docs.search(vectors[7], k=3)
print(hits)
print(hits[0].id, hits[0].score, hits[0]["title"])

# %%
ids, distances = docs.search_batch(vectors[:100], k=10)  # arrays of shape (100, 10), on all cores
print(ids.shape, (ids[:, 0] == np.arange(100)).all())

# %% [markdown]
# ## Rows
# Every write is atomic and on disk when it returns.

# %%
docs.update([7], {"title": ["a better title"]})
print(docs.get(7).to_dicts(), docs.delete([8, 9]), len(docs), 8 in docs)

# %% [markdown]
# ## Texts
# Give a function that makes vectors of texts: here one that counts letters, for real
# `nf.embed.sentence_transformers("all-MiniLM-L6-v2")` or another adapter.


# %%
def letters(texts):
    return [[text.lower().count(c) for c in "abcdefghijklmnopqrstuvwxyz"] for text in texts]


notes = db.collection("notes", embed=letters, text="body")
notes.add_texts(
    ["The cat sat on the mat.", "Rust has no garbage collector.", "Bake until golden."],
    data={"topic": ["animals", "programming", "cooking"]},
)
print(notes.search(text="cats and mats", k=1)[0]["body"])

# %% [markdown]
# ## Afterwards
# Readers in any process: `nf.open(path, mode="r")`. Hits are Arrow: `hits.to_pandas()`.

# %%
db.backup(folder / "copy.nf")
db.close()
with nf.open(folder / "copy.nf", mode="r") as copy:
    print(copy.collections(), len(copy["docs"]))
