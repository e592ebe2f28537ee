"""What Chroma has in `chromadb.utils`: embedding functions."""

from nearfield.compat.chroma.utils import embedding_functions

__all__ = ["embedding_functions"]
