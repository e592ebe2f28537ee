"""An embedded vector database: what SQLite is to rows, for embeddings.

>>> import nearfield as nf
>>> with nf.open(tmp / "my.nf") as db:
...     docs = db.collection("docs", dim=2, metric="l2")
...     docs.upsert([1, 2], [[0, 0], [3, 4]], {"title": ["near", "far"]})
...     docs.search([0, 1], k=1)[0]["title"]
2
'near'
"""

from nearfield import embed
from nearfield._errors import (
    Cancelled,
    Closed,
    Corrupt,
    DimensionMismatch,
    DuplicateId,
    Error,
    FilterError,
    Forked,
    Full,
    Incompatible,
    InvalidArgument,
    InvalidVector,
    IoError,
    Locked,
    NotFound,
    Poisoned,
    ReadOnly,
    SchemaMismatch,
    WordsError,
)
from nearfield._files import from_file, from_jsonl, from_npy, from_parquet
from nearfield._nearfield import (
    BatchHits,
    Collection,
    Column,
    Database,
    DoctorReport,
    Explanation,
    Filter,
    Hit,
    Hits,
    Index,
    Records,
    Scan,
    Snapshot,
    __version__,
    col,
    doctor,
    open,
    repair,
    restore,
    unpack,
)
from nearfield.embed import Embedder
from nearfield._progress import Progress

__all__ = [
    "BatchHits",
    "Cancelled",
    "Closed",
    "Collection",
    "Column",
    "Corrupt",
    "Database",
    "DimensionMismatch",
    "DoctorReport",
    "DuplicateId",
    "Embedder",
    "Error",
    "Explanation",
    "Filter",
    "FilterError",
    "Forked",
    "Full",
    "Hit",
    "Hits",
    "Incompatible",
    "Index",
    "InvalidArgument",
    "InvalidVector",
    "IoError",
    "Locked",
    "NotFound",
    "Poisoned",
    "Progress",
    "ReadOnly",
    "Records",
    "Scan",
    "SchemaMismatch",
    "Snapshot",
    "WordsError",
    "__version__",
    "col",
    "doctor",
    "embed",
    "from_file",
    "from_jsonl",
    "from_npy",
    "from_parquet",
    "open",
    "repair",
    "restore",
    "unpack",
]
