"""Files of the layers: a zip archive of a description in JSON, plain arrays, and an index file of nearfield.

Nothing in it is compressed. docs/format.md says what each entry is. What is read is checked before it is believed:
the archive has a checksum for each entry, the description says how long each must be.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

import nearfield as nf
from nearfield.compat._errors import Damaged, Foreign, Unreadable
from nearfield.compat._rows import Array

_Path: TypeAlias = str | os.PathLike[str]

_VERSION = 1
_DESCRIPTION = "description.json"
_INDEX = "index.nfi"


def write(path: _Path, description: dict[str, Any], arrays: Mapping[str, Array], index: nf.Index | None) -> None:
    """Writes the file whole, in place of what is there."""
    target = Path(path)
    try:
        with tempfile.TemporaryDirectory(prefix=".nearfield-", dir=target.parent) as folder:
            made = Path(folder) / "made"
            with open(made, "wb") as file:
                _pack(file, Path(folder), description, arrays, index)
                file.flush()
                os.fsync(file.fileno())
            os.replace(made, target)
    except OSError as error:
        if isinstance(error, nf.Error):
            raise
        raise Unreadable(f"cannot write {target}: {error.strerror}") from error


def dump(description: dict[str, Any], arrays: Mapping[str, Array], index: nf.Index | None) -> bytes:
    """The file as bytes, for pickles."""
    file = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        _pack(file, Path(folder), description, arrays, index)
    return file.getvalue()


def _pack(
    file: IO[bytes],
    folder: Path,
    description: dict[str, Any],
    arrays: Mapping[str, Array],
    index: nf.Index | None,
) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        text = json.dumps({"nearfield.compat": _VERSION, **description})
        archive.writestr(zipfile.ZipInfo(_DESCRIPTION), text)
        for name, array in arrays.items():
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as entry:
                entry.write(little.reshape(-1).view(np.uint8).data)
        if index is not None:
            index.save(folder / _INDEX)
            with (
                open(folder / _INDEX, "rb") as source,
                archive.open(zipfile.ZipInfo(_INDEX), "w", force_zip64=True) as entry,
            ):
                shutil.copyfileobj(source, entry, 1 << 20)


class Saved:
    """What a file says, not believed yet."""

    def __init__(self, name: str, entries: dict[str, bytes]) -> None:
        self._name = name
        self._entries = entries
        try:
            said = json.loads(entries.get(_DESCRIPTION, b""))
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict) or "nearfield.compat" not in said:
            raise self.damaged(_DESCRIPTION, "it does not describe an index")
        version = said["nearfield.compat"]
        if version != _VERSION:
            raise Foreign(
                f"{name} has version {version!r}, and this nearfield reads version {_VERSION}; read it with the "
                "version of nearfield that wrote it"
            )
        self._said = said

    def damaged(self, section: str, what: str) -> Damaged:
        error = Damaged(f"{self._name} is damaged, in {section}: {what}; write it again, or take a copy")
        error.file, error.section = self._name, section
        return error

    def whole(self, name: str, least: int = 0) -> int:
        """A whole number of the description."""
        value = self._said.get(name)
        if type(value) is not int or value < least or value >= 2**63:
            raise self.damaged(_DESCRIPTION, f"{name} is {value!r}, expected a whole number from {least}")
        return value

    def one_of(self, name: str, values: Any) -> Any:
        """A value of the description that must be one of `values`."""
        value = self._said.get(name)
        for known in values:
            if type(value) is type(known) and value == known:
                return known
        raise self.damaged(_DESCRIPTION, f"{name} is {value!r}, expected one of {', '.join(map(repr, values))}")

    def has(self, name: str) -> bool:
        return name in self._entries

    def array(self, name: str, dtype: Any, *shape: int) -> Array:
        """An array, which must be as large as its shape."""
        data = self._entries.get(name, b"")
        expected = np.dtype(dtype).itemsize
        for length in shape:
            expected *= length
        if len(data) != expected:
            raise self.damaged(name, f"{len(data)} bytes, expected {expected}")
        return np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).astype(dtype).reshape(shape)

    def index(self, rows: int, dim: int, metric: str, threads: int) -> nf.Index:
        """The index, which must be of these rows."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / _INDEX
            file.write_bytes(self._entries.get(_INDEX, b""))
            try:
                index = nf.Index.load(file, threads=threads)
            except nf.Corrupt as error:
                raise self.damaged(_INDEX, str(error)) from error
            except nf.Incompatible as error:
                raise Foreign(f"{self._name}: {error}") from error
        if (len(index), index.dim, index.metric) != (rows, dim, metric):
            raise self.damaged(_INDEX, f"it is {index!r}, expected {rows} vectors, dim={dim}, metric={metric!r}")
        return index


def read(path: _Path, foreign: str) -> Saved:
    """Reads a file; `foreign` says what to do with one that is not of nearfield."""
    try:
        with open(path, "rb") as file:
            return _unpack(file, os.fspath(path), foreign)
    except OSError as error:
        if isinstance(error, nf.Error):
            raise
        raise Unreadable(f"cannot open {os.fspath(path)}: {error.strerror}") from error


def parse(data: bytes, name: str, foreign: str) -> Saved:
    """What `dump` made."""
    return _unpack(io.BytesIO(data), name, foreign)


def _unpack(file: IO[bytes], name: str, foreign: str) -> Saved:
    start = file.read(2)
    size = file.seek(0, io.SEEK_END)
    if start != b"PK":
        raise Foreign(f"{name} is not a file of nearfield.compat; {foreign}")
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            plain = all(info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1 for info in infos)
            if not plain or sum(info.file_size for info in infos) > size:
                raise zipfile.BadZipFile("entries are not plain, or larger than the file")
            entries = {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        damaged = Damaged(f"{name} is damaged: {error}; write it again, or take a copy")
        damaged.file, damaged.section = name, "archive"
        raise damaged from error
    return Saved(name, entries)
