"""Errors about the files of others, each naming the file."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO, Any

import nearfield as nf


def damaged(file: str | os.PathLike[str], section: str, what: str) -> nf.Corrupt:
    """A file that does not hold what its kind holds."""
    error = nf.Corrupt(
        f"{os.fspath(file)} is damaged, or no such file, in {section}: {what}; nothing of it was stored, take a copy that "
        "its own library opens"
    )
    error.file, error.section = os.fspath(file), section
    return error


def foreign(file: str | os.PathLike[str], what: str) -> nf.Incompatible:
    """A file of a kind or version that is not read."""
    error = nf.Incompatible(f"{os.fspath(file)} {what}")
    error.file = os.fspath(file)
    return error


def unreadable(file: str | os.PathLike[str], error: OSError) -> nf.IoError:
    """What the operating system said."""
    return nf.IoError(f"cannot read {os.fspath(file)}: {error.strerror or error}")


def regular(file: Path) -> int:
    """The size of a file, which must be a plain one: reading a pipe would not end, a link may lead anywhere."""
    try:
        about = os.lstat(file)
    except FileNotFoundError:
        raise nf.NotFound(f"there is no {file}; give the directory that the library was opened with") from None
    except (OSError, ValueError) as error:
        raise nf.IoError(f"cannot read {file}: {error}") from error
    if not stat.S_ISREG(about.st_mode):
        kind = "a link" if stat.S_ISLNK(about.st_mode) else "no plain file"
        raise foreign(file, f"is {kind}, which is not followed; copy the directory with its files, as cp -L does")
    return about.st_size


def opened(file: Path) -> IO[bytes]:
    """A plain file, opened."""
    regular(file)
    try:
        return file.open("rb")
    except OSError as error:
        raise unreadable(file, error) from error


def needed(module: str, package: str) -> Any:
    """A library that is not part of nearfield."""
    try:
        return __import__(module)
    except ImportError as error:
        raise nf.InvalidArgument(
            f"reading this takes {package}, which is not installed: pip install {package}"
        ) from error
