"""Disks for the hard tests: file systems in memory that are mounted, filled, enlarged and taken away again. Root only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType


def command(*words: object) -> str:
    """Runs a command of the system; raises what it said if it fails."""
    ran = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise OSError(f"{' '.join(map(str, words))}: {ran.stderr.strip() or ran.returncode}")
    return ran.stdout.strip()


def why_not(*needed: str) -> str | None:
    """Why disks of these kinds ("tmpfs", "ext4") cannot be made here, if so."""
    if sys.platform != "linux":
        return "disks are made on Linux only"
    if os.geteuid() != 0:
        return "only root can mount disks"
    tools = ["mount", "umount"] + ["losetup", "mkfs.ext4"] * ("ext4" in needed)
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} is not installed"
    try:
        with tempfile.TemporaryDirectory() as place, Tmpfs(Path(place) / "disk", 1 << 20) as disk:
            if "ext4" in needed:
                image = disk.path / "image"
                image.write_bytes(bytes(512 << 10))
                command("losetup", "-d", command("losetup", "--find", "--show", image))
    except OSError as error:
        return f"disks cannot be mounted here: {error}"
    return None


class Tmpfs:
    """A disk in memory of `size` bytes, mounted at `path` as long as the context lasts."""

    def __init__(self, path: Path, size: int):
        self.path, self.size = path, size

    def __enter__(self) -> Tmpfs:
        self.path.mkdir(parents=True)
        command("mount", "-t", "tmpfs", "-o", f"size={self.size}", "nearfield-hard", self.path)
        return self

    def resize(self, size: int) -> None:
        command("mount", "-o", f"remount,size={size}", self.path)
        self.size = size

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        unmount(self.path)
        self.path.rmdir()


def unmount(path: Path) -> None:
    """Takes a disk away; at once from the tree, and from memory when its last file is closed."""
    try:
        command("umount", path)
    except OSError:
        command("umount", "--lazy", path)
