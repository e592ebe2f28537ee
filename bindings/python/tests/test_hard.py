"""Short forms of the programs in `hard`: killed writers, power cuts and full disks."""

import subprocess
import sys
from pathlib import Path

import pytest

HARD = Path(__file__).parent.parent / "hard"


def run(program: str, *arguments: str) -> str:
    """What a program says; skips the test if it says that it cannot run here."""
    ran = subprocess.run(
        [sys.executable, str(HARD / program), "--short", *arguments],
        capture_output=True,
        text=True,
        timeout=1_800,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    if ran.stdout.startswith("skipped: "):
        pytest.skip(ran.stdout.strip())
    return ran.stdout


def test_a_writer_killed_at_any_moment_loses_no_acknowledged_round():
    assert " 0 rows lost, 0 failures to open, 0 violations" in run("kills.py")


def test_a_writer_killed_on_a_disk_that_fills_up_loses_no_acknowledged_round():
    assert " 0 rows lost, 0 failures to open, 0 violations" in run("kills.py", "--tmpfs")


def test_a_power_cut_takes_no_acknowledged_round_and_a_loss_would_be_seen():
    assert run("power_cuts.py").count(" 0 failures to open, 0 violations") == 4


def test_a_full_disk_refuses_whole_calls_and_goes_on_once_it_is_enlarged():
    assert " 0 violations" in run("full_disks.py")
