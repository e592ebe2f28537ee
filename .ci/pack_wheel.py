"""Packs wheels anew where they lie, by a slower search for the same format: 3 % smaller.

    python .ci/pack_wheel.py WHEEL...
"""

import sys
import zipfile
from pathlib import Path

import zopfli.zlib


class Deflate:
    """What `zipfile` asks of a compressor, by zopfli: all of a file at once, without the frame of zlib."""

    def __init__(self) -> None:
        self.data = bytearray()

    def compress(self, data: bytes) -> bytes:
        self.data += data
        return b""

    def flush(self) -> bytes:
        return zopfli.zlib.compress(bytes(self.data), numiterations=1)[2:-4]


def main() -> None:
    zipfile._get_compressor = lambda *_: Deflate()
    for wheel in map(Path, sys.argv[1:]):
        packed = wheel.with_suffix(".packed")
        with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
            for item in old.infolist():
                new.writestr(item, old.read(item))
        with zipfile.ZipFile(packed) as new:
            damaged = new.testzip()
        if damaged is not None:
            raise SystemExit(f"{wheel}: packed anew, {damaged} is damaged")
        packed.replace(wheel)


if __name__ == "__main__":
    main()
