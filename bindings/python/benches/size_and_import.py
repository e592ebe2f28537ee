"""That the wheel stays small and is imported quickly.

    python size_and_import.py [--no-time] WHEEL…

Run by the Python that the wheel is installed in. Fails when a wheel is above 10 MB, what is installed above
30 MB, or importing takes more than 50 ms beyond NumPy's; `--no-time` leaves the last out, for machines that
others use too.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

WHEEL_BYTES = 10_000_000
INSTALLED_BYTES = 30_000_000
IMPORT_MS = 50.0


def import_ms() -> dict[str, float]:
    """Milliseconds of importing NumPy, and of nearfield behind it; the least of ten."""
    code = (
        "import time; a = time.perf_counter(); import numpy; b = time.perf_counter(); import nearfield; "
        "print(b - a, time.perf_counter() - b)"
    )
    times = [list(map(float, subprocess.check_output([sys.executable, "-c", code]).split())) for _ in range(10)]
    numpy_ms, own_ms = (min(column) * 1e3 for column in zip(*times))
    return {"numpy_ms": numpy_ms, "nearfield_ms": own_ms}


def installed_bytes() -> int:
    """What the package takes on disk, without what Python compiles of it."""
    files = importlib.metadata.files("nearfield") or []
    places = [Path(str(file.locate())) for file in files if file.suffix != ".pyc"]
    return sum(place.stat().st_size for place in places if place.exists())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheels", nargs="+", type=Path)
    parser.add_argument("--no-time", action="store_true", help="leave out how long importing takes")
    args = parser.parse_args()
    measured = [(f"{wheel.name}, bytes", wheel.stat().st_size, WHEEL_BYTES) for wheel in args.wheels]
    measured.append(("installed, bytes", installed_bytes(), INSTALLED_BYTES))
    if not args.no_time:
        measured.append(("import over NumPy's, ms", import_ms()["nearfield_ms"], IMPORT_MS))
    for what, value, limit in measured:
        print(f"{what}: {value:,.0f}, at most {limit:,.0f}")
    broken = [what for what, value, limit in measured if not 0 < value <= limit]
    if broken:
        sys.exit(f"too much: {', '.join(broken)}")


if __name__ == "__main__":
    main()
