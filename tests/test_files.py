"""Files that are whole or not there: names, links, permissions, full disks, two processes at once."""

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from minisd import files

ROOT = Path(__file__).parent.parent
posix = pytest.mark.skipif(os.name != "posix", reason="POSIX only")


def python(code, *words, **more):
    """A Python process that runs some code, and has `files`."""
    start = "import os, sys, pathlib\nfrom minisd import files\n" + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", start, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        **more,
    )


# ---- whole


def test_a_file_is_there_at_the_end_only_and_nothing_else(tmp_path):
    path = tmp_path / "new" / "folder" / "x.txt"
    with files.whole(path) as part:
        part.write_text("new")
        assert part.parent == path.parent and not path.exists()
    assert path.read_text() == "new" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit, OSError, MemoryError])
def test_a_writing_that_fails_leaves_what_there_was(tmp_path, failure):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(failure), files.whole(path) as part:
        part.write_text("new")
        raise failure
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "x.txt"
    with files.whole(path) as one, files.whole(path) as other:
        assert one != other
        one.write_text("one" * 1000)
        other.write_text("other")
    assert path.read_text() == "one" * 1000  # the last to end
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_the_users_own_stays(tmp_path):
    """The name that used to be taken for a while, as a file and as a link."""
    (tmp_path / "x.png.part").write_text("mine")
    (tmp_path / "aim").write_text("mine")
    if os.name == "posix":
        (tmp_path / "y.png.part").symlink_to(tmp_path / "aim")
    for name in ("x.png", "y.png"):
        with files.whole(tmp_path / name) as part:
            part.write_text("new")
    assert (tmp_path / "x.png.part").read_text() == (tmp_path / "aim").read_text() == "mine"


@posix
def test_a_link_is_written_through_as_by_open(tmp_path):
    (tmp_path / "far").mkdir()
    aim, link = tmp_path / "far" / "aim.txt", tmp_path / "link.txt"
    link.symlink_to(aim)
    for content in ("first", "second"):  # a link to nothing yet, then to a file
        with files.whole(link) as part:
            part.write_text(content)
        assert link.is_symlink() and aim.read_text() == content
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["aim.txt", "far", "link.txt"]
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(OSError), files.whole(loop):
        pass


@posix
def test_no_folder_device_or_pipe_is_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/null")
    for path, what in (
        (tmp_path, "is a folder"),
        *((tmp_path / n, "is a device or") for n in ("pipe", "device")),
    ):
        with pytest.raises(OSError, match=what) as error, files.whole(path):
            raise AssertionError("never gets here")
        assert "\n" not in str(error.value)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode) and (tmp_path / "pipe").is_fifo()


def replaced(part):
    """As some writers do: a file of their own in the place of ours."""
    other = part.with_name("own")
    other.write_text("new")
    other.chmod(0o600)
    other.replace(part)


@posix
@pytest.mark.parametrize("write", [lambda part: part.write_text("new"), replaced])
def test_permissions_are_those_of_open(tmp_path, write):
    before = os.umask(0o027)
    try:
        with files.whole(tmp_path / "new") as part:
            write(part)
        (tmp_path / "plain").write_text("")
        assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
        (tmp_path / "plain").chmod(0o604)
        with files.whole(tmp_path / "plain") as part:
            write(part)
        assert stat.S_IMODE((tmp_path / "plain").stat().st_mode) == 0o604
    finally:
        os.umask(before)


@posix
def test_a_protected_file_stays(tmp_path, monkeypatch):
    path = tmp_path / "x.txt"
    path.write_text("old")
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda path, mode: bool(path.stat().st_mode & 0o222))  # root may all
    with pytest.raises(PermissionError, match="write-protected"), files.whole(path):
        pass
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    "name", ["x" * 250 + ".png", "ü" * 125 + ".png", "画" * 83 + ".png", ".x", "x y\n.png"]
)
def test_any_name_that_a_file_can_have(tmp_path, name):
    try:
        (tmp_path / name).touch()
    except OSError:
        pytest.skip("not on this system")
    (tmp_path / name).unlink()
    with files.whole(tmp_path / name) as part:
        part.write_text("new")
    assert (tmp_path / name).read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (done.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(Path, "replace", lambda path, other: (done.append("name"), replace(path, other)))
    with files.whole(tmp_path / "x") as part:
        part.write_text("new")
    assert done[:2] == ["fsync", "name"]
    assert done[2:] == (["fsync"] if os.name == "posix" else [])  # the folder


def test_leftovers_of_killed_runs_are_swept(tmp_path):
    long_ago = time.time() - 2 * files.LEFTOVER
    old, young = tmp_path / f".x.png.{'a' * 16}.part", tmp_path / f".x.png.{'b' * 16}.part"
    others = [tmp_path / f".y.png.{'a' * 16}.part", tmp_path / ".x.png.mine.part", tmp_path / "x.png.part"]
    for path in (old, young, *others):
        path.touch()
        if path != young:
            os.utime(path, (long_ago, long_ago))
    with files.whole(tmp_path / "x.png") as part:
        part.touch()
    assert set(tmp_path.iterdir()) == {tmp_path / "x.png", young, *others}


def test_the_writers_that_we_have(tmp_path):
    """safetensors puts a file of its own in the place of ours; the others write into it."""
    tensor, array = torch.arange(12.0), np.arange(12)
    with files.whole(tmp_path / "a.safetensors") as part:
        save_file({"x": tensor}, part)
    with files.whole(tmp_path / "a.pt") as part:
        torch.save(tensor, part)
    with files.whole(tmp_path / "a.npz") as part, part.open("wb") as file:
        np.savez(file, x=array)
    with files.whole(tmp_path / "a.png") as part:
        Image.new("L", (4, 4), 7).save(part, format="PNG")
    assert load_file(tmp_path / "a.safetensors")["x"].equal(tensor)
    assert torch.load(tmp_path / "a.pt").equal(tensor)
    assert (np.load(tmp_path / "a.npz")["x"] == array).all()
    assert Image.open(tmp_path / "a.png").getpixel((0, 0)) == 7
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1 and len(list(tmp_path.iterdir())) == 4


# ---- full disks

WRITERS = {
    "plain": "part.write_bytes(bytes(3_000_000))",
    "torch": "torch.save(torch.zeros(750_000), part)",
    "safetensors": "save_file({'x': torch.zeros(750_000)}, part)",
    "numpy": "np.savez(open(part, 'wb'), x=np.zeros(375_000))",
    "picture": "Image.fromarray(noise).save(part, format='PNG')",
    "mapped": "files.new_array(part, (3_000_000,), 'uint8')",
}


def on_a_full_disk(folder, limit):
    """Write with each writer into a folder with too little room; prints what comes of it."""
    return f"""
    import errno, numpy as np, torch
    from PIL import Image
    from safetensors.torch import save_file
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), np.uint8)
    folder = pathlib.Path({str(folder)!r})
    {limit}
    for name, write in {WRITERS!r}.items():
        try:
            with files.whole(folder / name) as part:
                exec(write)
        except OSError as error:
            print(name, error.errno == errno.ENOSPC, error, list(folder.iterdir()))
    """


def assert_no_room(process, folder):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    line = "{0} True no room for {1}/{0}; make room, or name a folder on another disk []"
    assert out.splitlines() == [line.format(name, folder) for name in WRITERS]


@posix
def test_every_writer_says_no_room(tmp_path):
    """A limit on the size of a file, which needs no rights; it is also what a quota or FAT looks like."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))"
    assert_no_room(python(on_a_full_disk(tmp_path, limit)), tmp_path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts a small disk of its own")
def test_every_writer_says_no_room_on_a_disk_that_is_full(tmp_path):
    mount = ["unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o size=1m none {tmp_path} && exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("no right to mount")
    code = "import pathlib\nfrom minisd import files\n" + textwrap.dedent(on_a_full_disk(tmp_path, "pass"))
    process = subprocess.Popen(
        [*mount, sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert_no_room(process, tmp_path)


def test_other_errors_of_writers_stay_what_they_are(tmp_path):
    for error in (
        RuntimeError("a bug"),
        OSError(errno.EIO, "broken"),
        ValueError("os error 99999"),
        KeyError("x"),
    ):
        with pytest.raises(type(error)) as raised, files.whole(tmp_path / "x"):
            raise error
        assert raised.value is error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("by_the_system", [True, False])
def test_allocated_files_have_no_holes(tmp_path, monkeypatch, by_the_system):
    if not by_the_system:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    size = 3_000_001
    with (tmp_path / "x").open("wb") as file:
        file.write(b"head")
        files.allocate(file, size)
        files.allocate(file, 10)  # is long enough
    content = (tmp_path / "x").read_bytes()
    assert content == b"head" + bytes(size - 4)
    if os.name == "posix":
        assert (tmp_path / "x").stat().st_blocks * 512 >= size


def test_a_file_system_that_cannot_allocate(tmp_path, monkeypatch):
    def cannot(*_):
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(os, "posix_fallocate", cannot, raising=False)
    with (tmp_path / "x").open("w+b") as file:
        files.allocate(file, 5000)
    assert (tmp_path / "x").read_bytes() == bytes(5000)


@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (), (5,)])
def test_a_new_array_is_filled_in_place(tmp_path, shape):
    array = files.new_array(tmp_path / "x.npy", shape, np.float32)
    array[...] = 7
    array.flush()
    del array
    read = np.load(tmp_path / "x.npy")
    assert read.shape == shape and read.dtype == np.float32 and (read == 7).all()


# ---- locks

HOLD = """
    with files.locked(pathlib.Path(sys.argv[1]), wait=sys.argv[2:] != ["at once"]):
        print("in", flush=True)
        sys.stdin.readline()
"""


@pytest.mark.parametrize("folder", [True, False])
def test_a_second_process_is_kept_out_until_the_first_ends(tmp_path, folder):
    place = tmp_path / "place"
    if folder:
        place.mkdir()
    first = python(HOLD, place)
    assert first.stdout.readline() == "in\n"
    message = r"^\S+place is in use by another run of minisd; wait "
    with pytest.raises(BlockingIOError, match=message), files.locked(place, wait=False):
        raise AssertionError("both are in")
    second = python(HOLD, place)
    time.sleep(0.5)
    first.communicate("\n", timeout=60)
    assert second.stdout.readline() == "in\n"
    _, err = second.communicate("\n", timeout=60)
    assert f"UserWarning: {place} is in use by another process; waiting until it has ended" in err
    assert list(tmp_path.rglob("*")) == ([place] if folder else [])


@posix
def test_the_lock_of_a_killed_process_is_free(tmp_path):
    first = python(HOLD, tmp_path)
    assert first.stdout.readline() == "in\n"
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    with files.locked(tmp_path, wait=False):
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_with_a_file_of_its_own(tmp_path):
    lock = tmp_path / "locks" / "x.lock"
    with files.locked(tmp_path / "x", lock=lock):
        again = files.locked(tmp_path / "x", wait=False, lock=lock)
        with pytest.raises(BlockingIOError), again:
            raise AssertionError("both are in")


def test_locks_that_come_and_go_never_let_two_in(tmp_path):
    """As the lock's file is removed each time, a waiter may hold a removed one: it has to notice."""
    count = tmp_path / "count"
    count.write_text("0")
    code = """
    import warnings
    warnings.simplefilter("ignore")
    count = pathlib.Path(sys.argv[1])
    for _ in range(60):
        with files.locked(count):
            number = int(count.read_text())
            count.write_text(str(number + 1))
    """
    workers = [python(code, count) for _ in range(4)]
    for worker in workers:
        _, err = worker.communicate(timeout=120)
        assert worker.returncode == 0, err
    assert count.read_text() == "240" and list(tmp_path.iterdir()) == [count]


# ---- names for pictures


def test_a_name_is_reserved_once(tmp_path):
    path = tmp_path / "a red house.png"
    names = [files.reserved(path).name for _ in range(3)]
    assert names == ["a red house.png", "a red house-2.png", "a red house-3.png"]
    with files.whole(tmp_path / names[1]) as part:
        part.write_text("a picture")
    for name in names:
        files.unreserved(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [names[1]]  # only what was written stays
    files.unreserved(tmp_path / "not there")


def test_a_long_name_is_shortened_to_make_room_for_its_number(tmp_path):
    path = tmp_path / ("x" * 251 + ".png")
    assert [files.reserved(path).name for _ in range(2)] == [path.name, "x" * 249 + "-2.png"]


@posix
def test_a_link_to_nothing_is_somebodys_name(tmp_path):
    (tmp_path / "x.png").symlink_to(tmp_path / "far.png")
    assert files.reserved(tmp_path / "x.png").name == "x-2.png"
    assert not (tmp_path / "far.png").exists()


def test_processes_never_get_the_same_name(tmp_path):
    code = "for _ in range(100): print(files.reserved(pathlib.Path(sys.argv[1])))"
    processes = [python(code, tmp_path / "x.png") for _ in range(3)]
    names = [name for process in processes for name in process.communicate(timeout=60)[0].split()]
    assert len(names) == len(set(names)) == 300


def test_digest(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert files.digest(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
