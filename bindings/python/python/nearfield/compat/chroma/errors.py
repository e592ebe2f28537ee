"""The errors of Chroma, which are nearfield's too: `from nearfield.compat.chroma.errors import NotFoundError`."""

from __future__ import annotations

import nearfield as nf


class ChromaError(nf.Error):
    """Base of the errors that Chroma has classes for; others are ValueErrors and TypeErrors, as there."""

    __module__ = "nearfield.compat.chroma.errors"

    def message(self) -> str:
        """What is wrong, and what to do."""
        return str(self)


class NotFoundError(ChromaError, nf.NotFound):
    """A collection that does not exist."""

    __module__ = "nearfield.compat.chroma.errors"


class InvalidArgumentError(ChromaError, nf.InvalidArgument):
    """An argument that cannot be."""

    __module__ = "nearfield.compat.chroma.errors"


class InvalidDimensionException(InvalidArgumentError, nf.DimensionMismatch):
    """An embedding of another dimension than those of the collection."""

    __module__ = "nearfield.compat.chroma.errors"


class DuplicateIDError(ChromaError, nf.DuplicateId):
    """An id that is given twice."""

    __module__ = "nearfield.compat.chroma.errors"


class InternalError(ChromaError):
    """Base of `UniqueConstraintError`, which Chroma raises in its place."""

    __module__ = "nearfield.compat.chroma.errors"


class UniqueConstraintError(InternalError, nf.InvalidArgument):
    """A collection that exists already."""

    __module__ = "nearfield.compat.chroma.errors"


class AuthorizationError(ChromaError, nf.InvalidArgument):
    """What the settings do not allow."""

    __module__ = "nearfield.compat.chroma.errors"


class InvalidNumber(nf.InvalidArgument, TypeError):
    """A number out of range, where Chroma raises a TypeError."""

    __module__ = "nearfield.compat.chroma.errors"
