"""The command `nearfield` as the package installs it, and `python -m nearfield`: run as people run them."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf

SCRIPT = [str(Path(sysconfig.get_path("scripts")) / "nearfield")]
MODULE = [sys.executable, "-m", "nearfield"]

DOCS = """{"id": "a", "vector": [0, 0], "name": "origin"}
{"id": "b", "vector": [1, 0], "name": "one"}
{"id": "c", "vector": [2, 0], "name": "two"}
{"id": "d", "vector": [3, 0], "name": "größer"}
"""


class Shell:
    """A directory in which the command runs."""

    def __init__(self, place: Path, command: list[str]):
        self.place = place
        self.command = command
        self.environment = {**os.environ, "TMPDIR": str(place), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(self, *words: str | bytes, code: int = 0, **settings) -> subprocess.CompletedProcess[str]:
        ran = subprocess.run(
            [*self.command, *words],
            cwd=self.place,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            **settings,
        )
        assert "Traceback" not in ran.stderr and "panicked" not in ran.stderr, ran
        assert ran.returncode == code, ran
        return ran

    def start(self, *words: str, **settings) -> subprocess.Popen[bytes]:
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
        return subprocess.Popen([*self.command, *words], cwd=self.place, env=self.environment, **streams)

    def json(self, *words: str):
        return json.loads(self.run(*words, "--json").stdout)


@pytest.fixture(params=[SCRIPT, MODULE], ids=["script", "module"])
def shell(request, tmp_path: Path) -> Shell:
    return Shell(tmp_path, request.param)


@pytest.fixture
def docs(shell: Shell) -> Shell:
    (shell.place / "docs.jsonl").write_text(DOCS, encoding="utf-8")
    shell.run("import", "db", "docs", "docs.jsonl", "--metric", "l2")
    return shell


def test_what_is_imported_is_found_counted_and_seen_by_the_library(docs: Shell):
    found = docs.json("search", "db", "docs", "--values", "2.9,0", "-k", "2")["queries"][0]
    assert [hit["id"] for hit in found["hits"]] == ["d", "c"]
    assert "größer" in docs.run("search", "db", "docs", "--values", "2.9,0", "-k", "1", "--select", "name").stdout
    assert docs.json("count", "db", "docs")["rows"] == 4
    assert "docs" in docs.run("stats", "db").stdout
    with nf.open(docs.place / "db", mode="r") as db:
        assert db["docs"].get(["d"]).to_dicts()[0]["name"] == "größer"


def test_the_version_is_that_of_the_package(shell: Shell):
    assert shell.run("--version").stdout == f"nearfield {nf.__version__}\n"


def test_help_completions_and_manual_name_the_command_and_its_commands(shell: Shell):
    commands = ["import", "search", "stats", "bench", "migrate"]
    texts = [shell.run("--help").stdout, shell.run("completions", "bash").stdout, shell.run("man").stdout]
    assert all(command in text for command in commands for text in texts)
    assert "Usage: nearfield search" in shell.run("search", "--help").stdout
    shell.run("man", "pages")
    assert "chroma" in (shell.place / "pages" / "nearfield-migrate.1").read_text(encoding="utf-8")


def test_wrong_usage_ends_with_two_and_failures_with_one(docs: Shell):
    assert "Usage: nearfield" in docs.run("serch", code=2).stderr
    assert "--metric" in docs.run("import", "db", "docs", "docs.jsonl", "--metric", "far", code=2).stderr
    assert docs.run("count", "db", "nothing", code=1).stderr.startswith("error: ")
    assert docs.run("import", "db", "docs", "absent.jsonl", code=1).stderr.startswith("error: ")
    assert docs.run("migrate", "chrome", "a", "b", code=2).stderr.startswith("usage: nearfield migrate")
    assert docs.run("migrate", "chroma", "absent", "b", code=1).stderr.startswith("error: ")
    assert docs.run(code=2).stdout == ""


def test_the_demo_runs_on_the_files_of_the_source(shell: Shell, data: Path):
    assert "--data" in shell.run("demo", code=1).stderr
    assert shell.json("demo", "--data", str(data))["exact"]["recall_at_10"] > 0.99


def test_a_benchmark_measures_a_file(shell: Shell):
    np.save(shell.place / "some.npy", np.random.default_rng(5).normal(size=(600, 8)).astype(np.float32))
    assert shell.json("bench", "some.npy")["rows"] > 0


def test_files_compressed_by_zstandard_are_read(shell: Shell):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    table = pa.table({"id": [1, 2], "vector": [[0.0, 1.0], [1.0, 0.0]], "name": ["one", "two"]})
    pq.write_table(table, shell.place / "packed.parquet", compression="zstd")
    assert shell.json("import", "db", "docs", "packed.parquet", "--metric", "l2")["rows"] == 2
    with nf.open(shell.place / "db", mode="r") as db:
        assert db["docs"].get([2]).to_dicts()[0]["name"] == "two"


def test_hdf5_files_are_migrated_with_json_before_or_behind(shell: Shell):
    h5py = pytest.importorskip("h5py")
    with h5py.File(shell.place / "set.hdf5", "w") as file:
        file["train"] = np.eye(4, dtype=np.float32)
    for number, words in enumerate([("--json", "migrate"), ("migrate", "--json"), ("migrate",)]):
        ran = shell.run(*words, "hdf5", "set.hdf5", "db", "--metric", "l2", "--name", f"set{number}")
        if "--json" in words:
            assert json.loads(ran.stdout)["collections"][0]["rows"] == 4
        else:
            assert "copied 4 rows" in ran.stdout
    assert shell.json("count", "db", "set2")["rows"] == 4


def test_help_of_migrations_lists_their_kinds_and_options(shell: Shell):
    assert "lancedb" in shell.run("migrate", "--help").stdout
    assert "--tenant" in shell.run("migrate", "chroma", "--help").stdout
    assert "chroma" in shell.run("help", "migrate").stdout


def test_arguments_may_be_of_any_letters(docs: Shell):
    docs.run("import", "größe 文書", "docs", "docs.jsonl", "--metric", "l2")
    assert docs.json("list", "größe 文書", "docs", "--where", "name = 'größer'")["rows"][0]["id"] == "d"
    assert "nichts ✗" in docs.run("count", "db", "nichts ✗", code=1).stderr


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are Unicode there")
def test_names_of_files_need_not_be_utf8(docs: Shell):
    name = b"docs-\xff.jsonl"
    (docs.place / os.fsdecode(name)).write_text(DOCS, encoding="utf-8")
    docs.run(b"import", b"db-\xfe", b"docs", name, b"--metric", b"l2")
    assert (docs.place / os.fsdecode(b"db-\xfe")).is_dir()
    # A name of a collection is text.
    docs.run(b"count", b"db", b"\xff", code=2)
    assert docs.run(b"migrate", b"chroma", b"absent-\xff", b"new", code=1).stderr.startswith("error: ")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of Windows end otherwise")
@pytest.mark.parametrize("words", [["list", "db", "docs", "--limit", "100000"], ["man"], ["migrate", "--help"]])
def test_a_reader_that_leaves_early_is_no_failure(docs: Shell, words: list[str]):
    vectors = np.zeros((20_000, 2), dtype=np.float32)
    with nf.open(docs.place / "db") as db:
        db["docs"].upsert([f"row {number}" for number in range(20_000)], vectors)
    with docs.start(*words) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_what_is_piped_is_whole(docs: Shell):
    with nf.open(docs.place / "db") as db:
        db["docs"].upsert([f"row {number}" for number in range(20_000)], np.zeros((20_000, 2), dtype=np.float32))
    assert len(docs.json("list", "db", "docs", "--limit", "30000")["rows"]) == 20_004


def interrupts():
    """For a child that is to be interrupted, whatever the tests were started by."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.skipif(sys.platform == "win32", reason="there Ctrl-C goes to all processes of a console")
def test_ctrl_c_ends_an_import_with_nothing_stored(shell: Shell):
    np.save(shell.place / "many.npy", np.zeros((100_000, 64), dtype=np.float32))
    with shell.start("import", "db", "many", "many.npy", "--metric", "l2", preexec_fn=interrupts) as process:
        while not (shell.place / "db" / "many").exists() and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read().decode()
        assert process.wait(60) == 130, errors
    assert "interrupted" in errors and "Traceback" not in errors
    assert not (shell.place / "db").exists(), "it was made for this import"


@pytest.mark.skipif(sys.platform != "linux", reason="pipes of one page are Linux's")
def test_ctrl_c_ends_a_command_that_waits(shell: Shell):
    import fcntl
    import termios

    with shell.start("completions", "bash", preexec_fn=interrupts) as process:
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        # Nobody reads, and the pipe is full.
        while int.from_bytes(fcntl.ioctl(process.stdout, termios.FIONREAD, bytes(4)), sys.byteorder) < 4096:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT
        assert process.stderr.read() == b""


def test_the_command_needs_no_numpy(docs: Shell):
    code = (
        "import sys; sys.modules['numpy'] = None; from nearfield._cli import main; "
        "sys.exit(main(['count', 'db', 'docs', '--json']))"
    )
    ran = Shell(docs.place, [sys.executable, "-c", code]).run()
    assert json.loads(ran.stdout)["rows"] == 4
