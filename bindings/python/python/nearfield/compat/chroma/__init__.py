"""The interface of Chroma's client on a nearfield database: `import nearfield.compat.chroma as chromadb`.

    import nearfield.compat.chroma as chromadb

    client = chromadb.PersistentClient("my.nf")
    collection = client.create_collection("docs", embedding_function=model)
    collection.add(documents=["the cat sat"], metadatas=[{"page": 1}], ids=["a"])
    collection.query(query_texts=["feline"], n_results=1, where={"page": {"$gte": 1}})

`model` is any function of a list of texts, a `nearfield.Embedder` or a function made for Chroma. There is no default
one, and it is not stored: give it at each opening.

What is stored is a database of nearfield: a collection of the same name with the columns `document`, `uri`, `added` and
one for each key of the metadata, which `collection.nearfield` gives. What differs from Chroma:

- `EphemeralClient` and `Client` keep their data in a temporary directory, which is removed at the end of the process or
  when the last client is closed.
- One process has a path open at a time; its clients share it.
- `get` with `limit` or `offset`, and `peek`, look at every record for the order in which they were added: page through large
  collections by `collection.nearfield.scan()`. Records whose keys were all removed have no metadata (None).
- A fraction is compared with whole numbers as it is: `{"n": {"$gte": 1.5}}` does not find 1.
- Names have at most 128 characters. There is one tenant with one database.
- `delete` tells how many records there were. Of numbers of the index `ef_search` is heeded.

What is not covered raises `nearfield.compat.Unsupported`: servers, images, `$regex`, lists of numbers in metadata, schemas.
"""

from __future__ import annotations

from nearfield.compat.chroma import config, errors, utils
from nearfield.compat.chroma._client import (
    AdminClient,
    AsyncHttpClient,
    Client,
    ClientAPI,
    CloudClient,
    EphemeralClient,
    HttpClient,
    PersistentClient,
)
from nearfield.compat.chroma._collection import Collection
from nearfield.compat.chroma._types import (
    ID,
    URI,
    CollectionMetadata,
    Document,
    Documents,
    Embedding,
    EmbeddingFunction,
    Embeddings,
    GetResult,
    IDs,
    Include,
    Metadata,
    Metadatas,
    QueryResult,
    URIs,
    Where,
    WhereDocument,
)
from nearfield.compat.chroma.config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings

__all__ = [
    "DEFAULT_DATABASE",
    "DEFAULT_TENANT",
    "ID",
    "URI",
    "AdminClient",
    "AsyncHttpClient",
    "Client",
    "ClientAPI",
    "CloudClient",
    "Collection",
    "CollectionMetadata",
    "Document",
    "Documents",
    "Embedding",
    "EmbeddingFunction",
    "Embeddings",
    "EphemeralClient",
    "GetResult",
    "HttpClient",
    "IDs",
    "Include",
    "Metadata",
    "Metadatas",
    "PersistentClient",
    "QueryResult",
    "Settings",
    "URIs",
    "Where",
    "WhereDocument",
    "config",
    "errors",
    "utils",
]
