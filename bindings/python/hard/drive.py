"""A drive whose power can be cut: a file that a process of ours serves through FUSE, below a loop device. Root only.

    ext4  →  /dev/loopN  →  file of a FUSE mount  →  this process, which has the bytes in memory

Whatever a file system submits to its device arrives here as a WRITE, and each order to empty the drive's cache as an
FSYNC. Nothing else does: bytes in the page cache, of the file system or of the loop device, have not been written, and
a power cut takes them. Requests are served one after another, so that a cut falls between two of them, also in the
middle of a commit of the file system's journal or of a sync under way. Of what was written since the last FSYNC, a
drive may have kept anything: a cut keeps all of it, or loses blocks of it at random.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import mmap
import os
import random
import select
import stat
import struct
import time
from pathlib import Path

from children import Child, Fault, Shared
from disks import command, unmount

BLOCK = 4096
MOST_WRITE = 128 << 10
IN_HEADER = struct.Struct("<IIQQIIIHH")
OUT_HEADER = struct.Struct("<IiQ")
READ_IN = struct.Struct("<QQI")
ROOT, IMAGE = 1, 2
FOR_EVER = 1 << 30
WRITES, SYNCS = 0, 1


class Op(enum.IntEnum):
    """Requests of the kernel, by the numbers of linux/fuse.h."""

    LOOKUP, FORGET, GETATTR, SETATTR = 1, 2, 3, 4
    OPEN, READ, WRITE, STATFS, RELEASE, FSYNC = 14, 15, 16, 17, 18, 20
    FLUSH, INIT, OPENDIR, RELEASEDIR, ACCESS = 25, 26, 27, 29, 34
    INTERRUPT, DESTROY, BATCH_FORGET = 36, 38, 42


UNANSWERED = (Op.FORGET, Op.BATCH_FORGET, Op.INTERRUPT, Op.DESTROY)


class Drive:
    """A drive of `size` bytes, under the directory `place`."""

    def __init__(self, place: Path, size: int):
        self.size, self.place = size, place
        self.bytes = mmap.mmap(-1, size)
        self.frozen = mmap.mmap(-1, size)
        # How many writes and syncs it was asked for.
        self.asked = Shared()
        self.orders, self.order = os.pipe()
        self.done, self.tell_done = os.pipe()
        self.loop: str | None = None
        self.mounted: Path | None = None
        self.server: Child | None = None

    def __enter__(self) -> Drive:
        self.place.mkdir(parents=True)
        fuse = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        target = os.fsencode(self.place)
        if libc.mount(b"nearfield-drive", target, b"fuse", 0, options):
            number = ctypes.get_errno()
            os.close(fuse)
            raise OSError(number, f"cannot mount a FUSE file system: {os.strerror(number)}")
        self.server = Child(Server.serve, self, fuse)
        os.close(fuse)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.detach()
        finally:
            unmount(self.place)
            if self.server is not None:
                self.server.close()
            self.place.rmdir()

    def attach(self) -> str:
        """The device of the drive."""
        self.loop = command("losetup", "--find", "--show", self.place / "image")
        return self.loop

    def mount(self, path: Path) -> None:
        path.mkdir(exist_ok=True)
        command("mount", "-t", "ext4", self.attach(), path)
        self.mounted = path

    def detach(self) -> None:
        """Takes the file system and the device away."""
        if self.mounted is not None:
            unmount(self.mounted)
            self.mounted = None
        if self.loop is not None:
            command("losetup", "--detach", self.loop)
            loop, self.loop = self.loop, None
            await_free(loop)

    def cut(self, lose: bool, seed: int) -> None:
        """Cuts the power: what is written from now on is lost. Returns when that is so. The drive is as
        `restart` finds it; with `lose` it has lost some of what no FSYNC followed."""
        self.command(b"L" if lose else b"K", seed)

    def restart(self) -> None:
        """After a cut, once the drive is detached."""
        self.command(b"R", 0)

    def command(self, order: bytes, seed: int) -> None:
        os.write(self.order, order + seed.to_bytes(8, "little"))
        ready, _, _ = select.select([self.done], [], [], 30)
        if not ready:
            raise Fault("the drive does not answer")
        os.read(self.done, 1)


def await_free(loop: str) -> None:
    """A device that is still in use is freed a little later."""
    backing = Path("/sys/block") / Path(loop).name / "loop" / "backing_file"
    end = time.monotonic() + 10
    while backing.exists():
        if time.monotonic() > end:
            raise OSError(f"{loop} is still in use")
        time.sleep(0.005)


class Server:
    """The process that has the bytes."""

    def __init__(self, drive: Drive, fuse: int):
        self.drive, self.fuse = drive, fuse
        self.is_cut = False
        # What blocks held before they were written since the last FSYNC.
        self.unsynced: dict[int, bytes] = {}

    @staticmethod
    def serve(_: object, drive: Drive, fuse: int) -> None:
        # The drive must answer while others wait for it.
        server = Server(drive, fuse)
        watched = [fuse, drive.orders]
        while True:
            ready, _, _ = select.select(watched, [], [])
            if drive.orders in ready:
                server.obey(os.read(drive.orders, 9))
                continue
            try:
                request = os.read(fuse, MOST_WRITE + BLOCK)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    continue
                raise
            server.answer(request)

    def obey(self, order: bytes) -> None:
        drive, what = self.drive, order[:1]
        if what == b"R":
            drive.bytes[:] = drive.frozen[:]
            self.is_cut = False
        else:
            drive.frozen[:] = drive.bytes[:]
            if what == b"L":
                self.lose(random.Random(order[1:]))
            self.is_cut = True
        self.unsynced.clear()
        os.write(drive.tell_done, b"d")

    def lose(self, dice: random.Random) -> None:
        share = dice.choice([0.1, 0.5, 0.9, 1])
        for block, before in self.unsynced.items():
            if dice.random() < share:
                self.drive.frozen[block * BLOCK : (block + 1) * BLOCK] = before

    def answer(self, request: bytes) -> None:
        _, opcode, unique, node, *_ = IN_HEADER.unpack_from(request)
        if opcode in UNANSWERED:
            return
        body = request[IN_HEADER.size :]
        try:
            answer, error = self.act(opcode, node, body), 0
        except OSError as failure:
            answer, error = b"", failure.errno or errno.EIO
        os.write(self.fuse, OUT_HEADER.pack(OUT_HEADER.size + len(answer), -error, unique) + answer)

    def act(self, opcode: int, node: int, body: bytes) -> bytes:
        match opcode:
            case Op.INIT:
                major, minor, ahead, _ = struct.unpack_from("<IIII", body)
                # Of the flags only that of writes larger than a page.
                head = struct.pack("<IIIIHHII", major, min(minor, 31), ahead, 1 << 5, 16, 12, MOST_WRITE, 1)
                return head + bytes(64 - len(head))
            case Op.LOOKUP:
                if body.rstrip(b"\0") != b"image":
                    raise OSError(errno.ENOENT, "")
                return struct.pack("<QQQQII", IMAGE, 0, FOR_EVER, FOR_EVER, 0, 0) + self.attributes(IMAGE)
            case Op.GETATTR | Op.SETATTR:
                return struct.pack("<QII", FOR_EVER, 0, 0) + self.attributes(node)
            case Op.OPEN | Op.OPENDIR:
                return struct.pack("<QII", 0, 0, 0)
            case Op.READ:
                _, offset, size = READ_IN.unpack_from(body)
                return self.drive.bytes[offset : min(offset + size, self.drive.size)]
            case Op.WRITE:
                _, offset, size = READ_IN.unpack_from(body)
                self.write(offset, body[40 : 40 + size])
                return struct.pack("<II", size, 0)
            case Op.FSYNC:
                self.drive.asked[SYNCS] += 1
                self.unsynced.clear()
                return b""
            case Op.STATFS:
                return struct.pack("<QQQQQIIII", self.drive.size // BLOCK, 0, 0, 2, 0, BLOCK, 255, BLOCK, 0) + bytes(24)
            case Op.RELEASE | Op.FLUSH | Op.RELEASEDIR | Op.ACCESS:
                return b""
            case _:
                raise OSError(errno.ENOSYS, "")

    def write(self, offset: int, data: bytes) -> None:
        if self.is_cut:
            return
        self.drive.asked[WRITES] += 1
        for block in range(offset // BLOCK, -(-(offset + len(data)) // BLOCK)):
            if block not in self.unsynced:
                self.unsynced[block] = self.drive.bytes[block * BLOCK : (block + 1) * BLOCK]
        self.drive.bytes[offset : offset + len(data)] = data

    def attributes(self, node: int) -> bytes:
        size, mode = (self.drive.size, stat.S_IFREG | 0o600) if node == IMAGE else (0, stat.S_IFDIR | 0o700)
        return struct.pack("<QQQQQQIIIIIIIIII", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, BLOCK, 0)
