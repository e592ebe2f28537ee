"""Moving in from other vector databases.

    from nearfield import migrate

    migrate.from_chroma("chroma", "my.nf")                        # every collection of a directory of Chroma
    migrate.from_lancedb("lance", "my.nf", "docs")                # a table of LanceDB, by its package
    migrate.from_qdrant(QdrantClient(url=…), "my.nf", "docs")     # or the path of a local one
    migrate.from_hdf5("sift-128-euclidean.hdf5", "my.nf")         # by h5py

and in a shell

    nearfield migrate chroma DIRECTORY DB

Each copies into a database, open or by its path, a collection that is new or empty; all of it or, after an error or
Ctrl-C, nothing. The source is only read. Files of others are not believed: what is wrong with one is told as `Corrupt` or
`Incompatible`, which name it, and nothing in one is run.

Parquet, Arrow, JSON lines, npy and fvecs files are for `Database.import_file` and `nearfield.from_file`.
"""

from nearfield.migrate._chroma import from_chroma
from nearfield.migrate._hdf5 import from_hdf5
from nearfield.migrate._lancedb import from_lancedb
from nearfield.migrate._qdrant import from_qdrant
from nearfield.migrate._store import Migrated

__all__ = ["Migrated", "from_chroma", "from_hdf5", "from_lancedb", "from_qdrant"]
