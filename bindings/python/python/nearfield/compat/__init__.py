"""The interfaces of other libraries, each imported by its own name in place of theirs.

    import nearfield.compat.hnswlib as hnswlib
    from nearfield.compat import faiss
    import nearfield.compat.chroma as chromadb

What they do not cover raises `Unsupported`, which says how nearfield does it.
"""

from nearfield.compat._errors import Unsupported

__all__ = ["Unsupported"]
