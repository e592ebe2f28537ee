"""Errors that are nearfield's and of the kind that the other library raises."""

from __future__ import annotations

import nearfield as nf


class Unsupported(nf.Error, NotImplementedError):
    """What a library has and its layer does not cover; the message names nearfield's way to do it."""

    __module__ = "nearfield.compat"


class Absent(Unsupported, AttributeError):
    """A name of a module or class that is not covered."""

    __module__ = "nearfield.compat"


class Refused(nf.InvalidArgument, RuntimeError):
    """An argument that the library refuses with a RuntimeError."""

    __module__ = "nearfield.compat"


class Mismatch(nf.InvalidArgument, AssertionError):
    """An argument that the library refuses with an AssertionError."""

    __module__ = "nearfield.compat"


class Unreadable(nf.IoError, RuntimeError):
    """A file that cannot be opened or written, where the library raises a RuntimeError."""

    __module__ = "nearfield.compat"


class Foreign(nf.Incompatible, RuntimeError):
    """A file that is not one of nearfield's, or of a later version."""

    __module__ = "nearfield.compat"


class Damaged(nf.Corrupt, RuntimeError):
    """A file that does not hold what was written."""

    __module__ = "nearfield.compat"
