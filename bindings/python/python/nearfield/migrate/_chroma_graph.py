"""The vectors in the files of a graph that Chroma persists, those of its hnswlib.

They lie in `data_level0.bin`, blocks of (links, vector, label); `index_metadata.pickle` has the label of each id. Those
of the space "cosine" have length 1 there, and their own length is in `length.bin`.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from nearfield.migrate import _pickle
from nearfield.migrate._errors import damaged, foreign, opened, regular, unreadable
from nearfield.migrate._store import Array

_PERSISTENT_DATA = ("chromadb.segment.impl.vector.local_persistent_hnsw", "PersistentData")
# Version; where blocks begin, room, count, sizes and places in a block; the graph's own numbers.
_HEADER = struct.Struct("<i6QiI3QdQ")
_LABELS_AT_ONCE = 4 << 20


class Graph:
    """The files of a graph of hnswlib, in the form that Chroma persists, for their vectors."""

    def __init__(self, folder: Path, dim: int, cosine: bool) -> None:
        self._labels_file = folder / "index_metadata.pickle"
        self._data_file, self._length_file = folder / "data_level0.bin", folder / "length.bin"
        self._dim, self._cosine = dim, cosine
        ids, self.applied = self._labels()
        self._block, self._offset, count = self._header(folder / "header.bin")
        self._data = opened(self._data_file)
        try:
            self._lengths = self._read_lengths(count) if cosine else None
            place = self._places(count)
        except BaseException:
            self._data.close()
            raise
        # The place of each id. One whose label is in no block has no vector.
        self._of = {id: place[label] for id, label in ids.items() if label in place}

    def close(self) -> None:
        """Closes the file of the vectors."""
        self._data.close()

    def __contains__(self, id: str) -> bool:
        return id in self._of

    def vector(self, id: str) -> Array:
        """The vector of an id that is in it."""
        place = self._of[id]
        data = self._read(place * self._block + self._offset, 4 * self._dim)
        vector = np.frombuffer(data, "<f4")
        return vector if self._lengths is None else vector * self._lengths[place]

    def _labels(self) -> tuple[dict[str, int], int | None]:
        """The label of each id, and how far the log is in it if that is said here."""
        with opened(self._labels_file) as file:
            data = file.read()
        try:
            said = _pickle.loads(data, {_PERSISTENT_DATA})
        except _pickle.Refused as error:
            raise damaged(self._labels_file, "its pickle", str(error)) from error
        said = said.state if isinstance(said, _pickle.Object) else said
        labels = said.get("id_to_label") if isinstance(said, dict) else None
        applied = said.get("max_seq_id") if isinstance(said, dict) else None
        if type(labels) is not dict or not all(type(k) is str and type(v) is int for k, v in labels.items()):
            raise damaged(self._labels_file, "id_to_label", "no dict of texts and whole numbers")
        if applied is not None and type(applied) is not int:
            raise damaged(self._labels_file, "max_seq_id", f"{applied!r:.80}, expected a whole number")
        return labels, applied

    def _header(self, file: Path) -> tuple[int, int, int]:
        """Bytes of a block, where in it the vector begins, and how many there are."""
        with opened(file) as header:
            data = header.read(_HEADER.size)
        if len(data) < _HEADER.size:
            raise damaged(file, "its header", f"{len(data)} bytes, expected {_HEADER.size}")
        version, begin, room, count, block, label, vector, *_, links, _, _, _ = _HEADER.unpack(data)
        if version != 1:
            raise foreign(file, f"has version {version}, and version 1 is read; open it with the Chroma that wrote it")
        if begin or count > room or vector != 4 + 4 * links or block != label + 8:
            raise damaged(file, "its header", "numbers that do not go together")
        if label - vector != 4 * self._dim:
            raise damaged(file, "its header", f"vectors of {label - vector} bytes, expected {4 * self._dim}")
        there = regular(self._data_file)
        if there < count * block:
            raise damaged(self._data_file, "its length", f"{there} bytes, expected {count * block} for {count} vectors")
        return block, vector, count

    def _read_lengths(self, count: int) -> Array:
        there = regular(self._length_file)
        if there < 4 * count:
            raise damaged(self._length_file, "its length", f"{there} bytes, expected {4 * count}")
        with opened(self._length_file) as file:
            return np.frombuffer(file.read(4 * count), "<f4")

    def _places(self, count: int) -> dict[int, int]:
        """The place of each label."""
        place: dict[int, int] = {}
        step = max(1, _LABELS_AT_ONCE // self._block)
        for begin in range(0, count, step):
            rows = min(step, count - begin)
            blocks = np.frombuffer(self._read(begin * self._block, rows * self._block), np.uint8)
            labels = blocks.reshape(rows, self._block)[:, -8:].copy().view("<u8")[:, 0]
            place.update(zip(labels.tolist(), range(begin, begin + rows)))
        if len(place) < count:
            raise damaged(self._data_file, "its labels", "one that is there twice")
        return place

    def _read(self, begin: int, size: int) -> bytes:
        try:
            self._data.seek(begin)
            data = self._data.read(size)
        except OSError as error:
            raise unreadable(self._data_file, error) from error
        if len(data) < size:
            raise damaged(self._data_file, "its length", "it became shorter; close the program that writes to it")
        return data
