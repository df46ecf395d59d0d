"""Files that are whole or not there at all, whatever else runs, fails or fills up meanwhile."""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import filelock

from .notes import note

if TYPE_CHECKING:
    import numpy as np

LONGEST = 255  # bytes of a file's name, on nearly all file systems
LEFTOVER = 24 * 3600  # seconds after which an unfinished file that nobody has touched is a killed run's
FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
FULL_ON_WINDOWS = {39, 112, 1295}  # ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL, ERROR_DISK_QUOTA_EXCEEDED


class NoRoom(OSError):
    """The disk is full, or a quota used up; reads as one line."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.ENOSPC, f"no room for {path}; make room, or name a folder on another disk")

    def __str__(self) -> str:
        return str(self.strerror)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Another name to write under, which becomes `path` at the end; a writing that fails leaves nothing.

    The other name is new and in the same folder, which is made where it is missing. At the end the
    bytes are brought to the disk before the file gets its name, so that after a kill or a power cut
    `path` has its old content or all of the new. As with open(): a symbolic link is written through, a
    file that is there keeps its permissions, and a new one gets those of the user's umask.

    Raises NoRoom, an OSError, where the disk is full, even if the writer (torch.save, safetensors) put it
    otherwise; OSError too for a `path` that may not be overwritten or is no regular file.
    """
    path = overwritable(Path(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    part = path.with_name(fitting("." + path.name, f".{secrets.token_hex(8)}.part"))
    try:
        with room_for(path):
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            try:
                mode = stat.S_IMODE(path.stat().st_mode)
            except FileNotFoundError:
                mode = stat.S_IMODE(part.stat().st_mode)
            try:
                yield part
            except Exception as error:
                if disk_was_full(error, part):
                    raise NoRoom(path) from error
                raise
            part.chmod(mode)  # some writers put a file of their own in the place of ours
            settle(part, path)
    finally:
        part.unlink(missing_ok=True)


def overwritable(path: Path) -> Path:
    """Where the bytes of `path` go: behind its symbolic links, if it is one; OSError if they may not."""
    if path.is_symlink():
        with contextlib.suppress(FileNotFoundError):  # a link to a file that is yet to be made
            path.stat()
        path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it")
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is a device or a pipe, not a file; name another")
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(f"{path} is write-protected; name another file, or lift its protection")
    return path


def fitting(stem: str, ending: str) -> str:
    """stem + ending, with as much of the stem as a file's name has room for."""
    room = LONGEST - len(os.fsencode(ending))
    while len(os.fsencode(stem)) > room:
        stem = stem[:-1]
    return stem + ending


def sweep(path: Path) -> None:
    """Remove what killed writings of `path` have left beside it."""
    start = fitting("." + path.name, "." + 16 * "0" + ".part").removesuffix(16 * "0" + ".part")
    left = re.compile(re.escape(start) + r"[0-9a-f]{16}\.part")
    with contextlib.suppress(OSError):  # another run may sweep at the same time
        for other in path.parent.iterdir():
            if left.fullmatch(other.name) and time.time() - other.stat().st_mtime > LEFTOVER:
                other.unlink()


def settle(part: Path, path: Path) -> None:
    """Bring the bytes of `part` to the disk, and only then give it the name `path`, replacing what has it."""
    with part.open("r+b") as file:
        os.fsync(file.fileno())
    part.replace(path)
    if os.name == "posix":  # elsewhere a folder can't be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        except OSError:
            pass  # some network file systems can't; the file itself is on the disk
        finally:
            os.close(folder)


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Turn any OSError of a full disk into NoRoom, which names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL and not isinstance(error, NoRoom):
            raise NoRoom(path) from error
        raise


def disk_was_full(error: Exception, part: Path) -> bool:
    """Whether a writer failed on `part` for want of room, whichever way its own error puts it."""
    if isinstance(error, OSError):
        return error.errno in FULL
    if found := re.search(r"os error (\d+)", str(error)):  # how safetensors ends its errors
        return int(found[1]) in (FULL_ON_WINDOWS if os.name == "nt" else FULL)
    if not isinstance(error, RuntimeError):
        return False
    # torch.save tells no reason (but "unexpected pos 64"); so ask the disk for a little more.
    try:
        with part.open("ab") as file:
            file.write(bytes(1 << 20))
            file.flush()
            os.fsync(file.fileno())
    except OSError as full:
        return full.errno in FULL
    return False


@contextmanager
def locked(path: Path, wait: bool = True, lock: Path | None = None) -> Iterator[None]:
    """Keep other processes that ask the same for `path`, a file or an existing folder, out meanwhile.

    Another process that holds it is waited for, with a note; or, with wait=False, it is a
    BlockingIOError. lock: the file that stands for the lock, in place of one of our own in the same
    folder that is removed in the end. The lock of a process that dies is free again.
    """
    path = Path(path)
    own = lock or (path / ".lock" if path.is_dir() else path.with_name(fitting("." + path.name, ".lock")))
    own.parent.mkdir(parents=True, exist_ok=True)
    held = filelock.FileLock(own, mode=0o664)  # the hub's mode: users who share a folder wait for each other
    try:
        held.acquire(blocking=False)
    except filelock.Timeout:
        if not wait:
            raise BlockingIOError(
                f"{path} is in use by another run of minisd; wait until it has ended, or take another place"
            ) from None
        note(f"{path} is in use by another process; waiting until it has ended")
        held.acquire()
    try:
        yield
    finally:
        if lock is None and os.name == "posix":  # on Windows filelock removes it itself
            # While it is held: whoever waits for the removed file sees that it is gone, and makes a new one.
            own.unlink(missing_ok=True)
        held.release()


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reserved(path: Path) -> Path:
    """The first of `path`, path-2, path-3, ... that nobody has, made here as an empty file to overwrite.

    As the file is made exclusively, two processes never get the same name. Should nothing be written in
    the end, `unreserved` gives the name back.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = 1, path
    while True:
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            return name
        except FileExistsError:
            number += 1
            name = path.with_name(fitting(path.stem, f"-{number}{path.suffix}"))


def unreserved(path: Path) -> None:
    """Give a reserved name back, if nothing was written under it."""
    if path.is_file() and path.stat().st_size == 0:
        path.unlink()


def allocate(file: IO[bytes], size: int) -> None:
    """Make an open file at least `size` bytes long, every one of them with its place on the disk.

    A file that is only told its length has no place yet; once it is mapped into memory and the disk is
    full, writing to it ends the process (SIGBUS). Raises NoRoom, an OSError.
    """
    file.flush()
    with room_for(Path(str(file.name))):
        if not allocated_by_the_system(file.fileno(), size):
            for start in range(file.seek(0, os.SEEK_END), size, 1 << 20):
                file.write(bytes(min(1 << 20, size - start)))
            file.flush()


def allocated_by_the_system(descriptor: int, size: int) -> bool:
    """Whether the operating system could do it: macOS, Windows and some file systems can't."""
    if not hasattr(os, "posix_fallocate") or size <= os.fstat(descriptor).st_size:
        return False
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            return False
        raise
    return True


def new_array(path: Path, shape: tuple[int, ...], dtype: "np.typing.DTypeLike") -> "np.memmap":
    """A new .npy file of zeros, mapped into memory to be filled, with all its room taken at once.

    Raises NoRoom, an OSError, before anything is mapped.
    """
    import numpy as np

    kind = np.dtype(dtype)
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        allocate(file, file.tell() + kind.itemsize * int(np.prod(shape, dtype=np.int64)))
    return np.lib.format.open_memmap(path, mode="r+")
