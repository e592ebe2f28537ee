"""Moving in from other vector databases.

    from nearfield import migrate

    migrate.from_chroma("chroma", "my.nf")
"""

from nearfield.migrate._chroma import from_chroma
from nearfield.migrate._store import Migrated

__all__ = ["Migrated", "from_chroma"]
