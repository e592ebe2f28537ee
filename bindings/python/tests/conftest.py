import signal
from pathlib import Path

import pytest

import nearfield as nf


def pytest_configure(config: pytest.Config):
    # What a shell starts in the background ignores Ctrl-C; tests of it would wait for ever.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # The suites of frameworks have tests that are coroutines.
    if config.pluginmanager.hasplugin("asyncio"):
        config.option.asyncio_mode = "auto"


@pytest.fixture
def db(tmp_path: Path):
    with nf.open(tmp_path / "test.nf") as db:
        yield db


@pytest.fixture
def docs(db: nf.Database) -> nf.Collection:
    """Two rows in the plane: 1 "near" at the origin, 2 "far" at (3, 4)."""
    docs = db.collection("docs", dim=2, metric="l2")
    docs.upsert([1, 2], [[0, 0], [3, 4]], {"title": ["near", "far"]})
    return docs


@pytest.fixture(scope="session")
def data() -> Path:
    """The data set that ships with the source."""
    for folder in Path(__file__).parents:
        if (folder / "examples" / "data" / "packages.parquet").exists():
            return folder / "examples" / "data"
    pytest.skip("examples/data is not here")
