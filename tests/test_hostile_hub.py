"""A hub that is hostile, confused or not the hub at all; and several who fetch from it at once."""

import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import test_hub
from minisd import hub, transfer
from test_hub import COMMIT, MODEL, PIECE, ROOT, UNET, Handler, assert_clean, contents, digests, wanted

CONFIG = "unet/config.json"
EVIL = str(Path(tempfile.gettempdir(), "minisd-evil"))  # a path that a hostile hub gives
cache, files, server = test_hub.cache, test_hub.files, test_hub.server  # fixtures

# ---- descriptions of a repository


def changed(name, **changes):
    """A listing in which a file is described otherwise."""

    def listing(body, head):
        entry = next(entry for entry in body["siblings"] if entry["rfilename"] == name)
        entry.update(changes)
        return body

    return listing


def compressed(body, head):
    head["Content-Encoding"] = "gzip"
    return gzip.compress(b'{"sha": "' + bytes(200 << 20) + b'"}', 1)


def with_siblings(siblings):
    return lambda body, head: body | {"siblings": siblings}


LISTINGS = {
    "null": lambda body, head: b"null",
    "a list": lambda body, head: [body],
    "a string": lambda body, head: "sha",
    "a number": lambda body, head: 5,
    "a web page": lambda body, head: b"<html>Please log in</html>",
    "nothing": lambda body, head: b"",
    "half of it": lambda body, head: json.dumps(body).encode()[:-100],
    "latin-1": lambda body, head: b'{"sha": "\xe9"}',
    "UTF-16": lambda body, head: json.dumps(body).encode("utf-16"),
    "nested deeply": lambda body, head: b'{"sha":' + b"[" * 200_000,
    "a number of many digits": lambda body, head: b'{"sha": ' + b"9" * 10_000 + b"}",
    "a long body": lambda body, head: json.dumps(body).encode() + b" " * (hub.SMALL + 1),
    "a compressed bomb": compressed,
    "no commit": lambda body, head: {"siblings": body["siblings"]},
    "a commit that is a path": lambda body, head: body | {"sha": "../../../../evil"},
    "a commit that is a list": lambda body, head: body | {"sha": [COMMIT]},
    "a commit with a line": lambda body, head: body | {"sha": COMMIT + "\n"},
    "another commit": lambda body, head: body | {"sha": COMMIT[::-1]},
    "no files": lambda body, head: {"sha": COMMIT},
    "files null": with_siblings(None),
    "files an object": with_siblings({"model_index.json": {}}),
    "files strings": with_siblings(["model_index.json"]),
    "files without names": with_siblings([{}, {"rfilename": None}, {"rfilename": ["a"]}]),
    "files with nothing else": with_siblings([{"rfilename": name} for name in hub.needed((), None)]),
    "an id that is a path": changed(CONFIG, blobId="../../../../evil"),
    "an id that is a path from the root": changed(CONFIG, blobId=EVIL),
    "an id that is an ending": changed(CONFIG, blobId=".."),
    "an id that is too short": changed(CONFIG, blobId="a" * 39),
    "an id of the other length": changed(CONFIG, blobId="a" * 64),
    "an id that is no hexadecimal": changed(CONFIG, blobId="g" * 40),
    "an id with a line": changed(CONFIG, blobId="a" * 40 + "\n"),
    "an id in capitals": changed(CONFIG, blobId="A" * 40),
    "an id that is null": changed(CONFIG, blobId=None),
    "an id that is a number": changed(CONFIG, blobId=1234567890123456789012345678901234567890),
    "a digest that is a path": changed(UNET, lfs={"sha256": "../../../../evil"}),
    "a digest that is null": changed(UNET, lfs={"sha256": None}),
    "a digest of the other length": changed(UNET, lfs={"sha256": "a" * 40}),
    "no digest": changed(UNET, lfs={}),
    "digests in a list": changed(UNET, lfs=["a" * 64]),
    "a size below nothing": changed(UNET, size=-1),
    "a size that is text": changed(UNET, size="100"),
    "a size that is true": changed(UNET, size=True),
    "a size that is null": changed(UNET, size=None),
    "a size with a fraction": changed(UNET, size=100.5),
    "a size beyond all disks": changed(UNET, size=10**400),
    "a config of ten gigabytes": changed(CONFIG, size=10**10),
}


@pytest.mark.parametrize("kind", LISTINGS)
def test_a_description_that_makes_no_sense(server, tmp_path, kind):
    server.listing = LISTINGS[kind]
    evil = tmp_path / "evil"  # where the paths above lead
    evil.write_text("mine")
    with pytest.raises(OSError) as error:
        hub.fetch(MODEL)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    assert evil.read_text() == "mine" and not Path(EVIL).exists()
    about_models = [path for _, path, *_ in server.asked if path.startswith("/api/models")]
    assert list(tmp_path.rglob("*")) == [evil] and len(about_models) == 1


def test_more_than_is_needed_in_a_description_does_no_harm(server, files):
    strange = [{"rfilename": "../../evil", "blobId": "../evil", "size": -1}, {"rfilename": None}, {"x": [1]}]
    server.listing = lambda body, head: body | {"siblings": [*strange, *body["siblings"]], "more": {"a": []}}
    assert contents(hub.fetch(MODEL)) == wanted(files)


# ---- answers in place of a file

HTML = b"<html>Please log in</html>" * 100


def says(status=200, body=HTML, chunked=False, **headers):
    """An answer of a file's store. chunked: its length is not stated."""

    def answer(handler):
        head = {name.replace("_", "-"): value for name, value in headers.items()}
        if chunked:
            handler.reply(status, head | {"Transfer-Encoding": "chunked"})
            handler.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        else:
            handler.reply(status, {"Content-Length": len(body)} | head, body)

    return answer


def raw(data):
    return lambda handler: handler.wfile.write(data)


def dripping(before=b""):
    """One byte after another, for as long as anybody listens."""

    def answer(handler):
        handler.wfile.write(before)
        while True:
            handler.wfile.write(b"x")
            time.sleep(0.02)

    return answer


PART, SIZE = 30_000, 1_000_000  # what is there of the U-Net, and what there is of it
REST = SIZE - PART
RANGE = f"bytes {PART}-{SIZE - 1}/{SIZE}"
STATUS = b"HTTP/1.1 206 Partial Content\r\n"
CHUNKED = STATUS + f"Content-Range: {RANGE}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
ANSWERS = {
    "a web page": says(Content_Type="text/html"),
    "a web page of any length": says(Content_Type="Text/HTML; charset=utf-8", chunked=True),
    "a web page that says nothing of it": says(),
    "a web page of any length that says nothing of it": says(chunked=True),
    "a web page as the part": says(206, Content_Range=RANGE),
    "a web page as the part, of any length": says(206, chunked=True, Content_Range="bytes 0-2599/2600"),
    "a web page of the right length": says(body=HTML.ljust(SIZE), Content_Type="text/html"),
    "all, of any length": says(body=bytes(SIZE), chunked=True),
    "too much, of any length": says(body=bytes(2 * SIZE), chunked=True),
    "too much as the part": says(206, bytes(2 * SIZE), Content_Range=RANGE),
    "too much as the part, of any length": says(206, bytes(2 * SIZE), True, Content_Range=RANGE),
    "too much of everything": says(body=bytes(2 * SIZE)),
    "another part": says(206, bytes(REST), Content_Range=f"bytes 0-{REST - 1}/{SIZE}"),
    "a part that isn't named": says(206, bytes(REST)),
    "a part of another file": says(206, bytes(REST), Content_Range=f"bytes {PART}-{SIZE - 1}/{SIZE + 1}"),
    "parts": says(206, bytes(REST), Content_Type="multipart/byteranges; boundary=x"),
    "compressed": says(206, gzip.compress(bytes(SIZE)), Content_Encoding="gzip", Content_Range=RANGE),
    "compressed otherwise": says(206, bytes(REST), Content_Encoding="br", Content_Range=RANGE),
    "no content": says(204, b""),
    "out of range": says(416, b""),
    "not found": says(404),
    "a failure for ever": says(500),
    "patience for a day": says(429, b"", Retry_After="86400"),
    "patience for a while": says(503, b"", Retry_After="9" * 400),
    "patience for a date": says(503, b"", Retry_After="Fri, 31 Dec 9999 23:59:59 GMT"),
    "patience of another kind": says(503, b"", Retry_After="-1e400"),
    "round and round": says(302, b"", Location=f"/store/{UNET}"),
    "to another protocol": says(302, b"", Location="ftp://localhost/x"),
    "to a file": says(302, b"", Location="file:/etc/passwd"),
    "to nowhere": says(302, b"", Location="http://[::1"),
    "to a port that is none": says(302, b"", Location="http://localhost:99999999/"),
    "a redirection without an aim": says(302, b""),
    "nothing": raw(b""),
    "no HTTP": raw(b"220 smtp ready\r\n"),
    "half a head": raw(STATUS + b"Content-Le"),
    "a head of a megabyte": raw(STATUS + b"X: " + b"x" * (1 << 20)),
    "two lengths": raw(STATUS + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
    "a length below nothing": raw(STATUS + b"Content-Length: -1\r\n\r\nx"),
    "a broken chunk": raw(CHUNKED + b"zz\r\n"),
    "a head drop by drop": dripping(STATUS + b"X: "),
    "a page drop by drop": dripping(b"HTTP/1.1 200 OK\r\n\r\n"),
}


@pytest.fixture
def impatient(monkeypatch):
    """The limits of time a hundred times shorter; no waiting between tries, but a record of it."""
    waits = []
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=waits.append)
    monkeypatch.setattr(transfer, "time", clock)
    monkeypatch.setattr(transfer, "WINDOW", 0.6)
    monkeypatch.setattr(transfer, "PATIENCE", 0.6)
    return waits


@pytest.fixture
def part(server, cache, files):
    """Where the begun U-Net stands in the cache; it has just SIZE bytes here."""
    server.files = server.sent = files | {UNET: files[UNET][:SIZE]}
    part = cache / "blobs" / (digests(server.files[UNET])[1] + ".incomplete")
    part.parent.mkdir(parents=True)
    return part


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_that_is_not_the_file(server, cache, part, impatient, kind):
    """What was there stays as it was, and the next try goes on from it."""
    begun = server.files[UNET][:PART]
    part.write_bytes(begun)
    server.says[UNET] = ANSWERS[kind]
    with pytest.raises(OSError) as error:
        hub.fetch(MODEL)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    assert part.read_bytes() == begun and not (cache / "snapshots").exists()
    assert all(wait <= transfer.LONGEST_WAIT for wait in impatient) and len(impatient) < transfer.TRIES
    server.says.clear()
    server.asked.clear()
    assert contents(hub.fetch(MODEL)) == wanted(server.files)
    assert server.gets(UNET) == [f"bytes={PART}-"]
    assert_clean(cache)


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_that_is_not_the_file_from_its_beginning(server, cache, part, impatient, kind):
    server.says[UNET] = ANSWERS[kind]
    with pytest.raises((OSError, ValueError)) as error:
        hub.fetch(MODEL)
    assert "\n" not in str(error.value)
    assert not part.exists() or part.read_bytes() == b""
    server.says.clear()
    assert contents(hub.fetch(MODEL)) == wanted(server.files)
    assert_clean(cache)


def test_a_server_that_ignores_what_is_there(server, cache, part):
    """All again is good, if it says that it is all."""
    part.write_bytes(b"other bytes")
    server.says[UNET] = says(body=server.files[UNET])
    assert contents(hub.fetch(MODEL)) == wanted(server.files)
    assert_clean(cache)


def test_a_server_that_does_not_state_a_length(server, files):
    server.says[UNET] = says(body=files[UNET], chunked=True)
    assert contents(hub.fetch(MODEL)) == wanted(files)


def test_bytes_that_come_drop_by_drop_end_and_are_kept(server, part, impatient):
    """They may be the right ones: the head says so."""
    data = server.files[UNET]

    def drop_by_drop(handler):
        handler.reply(200, {"Content-Length": SIZE})
        for at in range(SIZE):
            handler.wfile.write(data[at : at + 1])
            time.sleep(0.02)

    server.says[UNET] = drop_by_drop
    with pytest.raises(ConnectionError, match=r"fewer than 1000 bytes a second; what was fetched is kept"):
        hub.fetch(MODEL)
    there = part.read_bytes()
    assert there and data.startswith(there)
    server.says.clear()
    assert contents(hub.fetch(MODEL)) == wanted(server.files)
    assert server.gets(UNET)[-1] == f"bytes={len(there)}-"


@pytest.mark.parametrize("drops", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_description_that_comes_drop_by_drop_ends(server, impatient, monkeypatch, drops):
    monkeypatch.setattr(Handler, "answer", dripping(drops))
    begun = time.monotonic()
    with pytest.raises(OSError):
        hub.fetch(MODEL)
    assert time.monotonic() - begun < 5


def test_a_failure_that_passes_is_waited_for(server, files, impatient):
    answers = [says(503, b"", Retry_After="3"), says(429, b"", Retry_After="1000"), says(500)]

    def at_first(handler):
        answers.pop(0)(handler)
        if not answers:
            server.says.clear()

    server.says[UNET] = at_first
    assert contents(hub.fetch(MODEL)) == wanted(files)
    assert impatient == [3.0, transfer.LONGEST_WAIT, transfer.WAIT]


@pytest.mark.skipif(os.name != "posix", reason="POSIX only")
def test_links_in_the_way_are_not_written_through(server, tmp_path, files):
    mine, dest = tmp_path / "mine.txt", tmp_path / "model"
    mine.write_text("mine")
    (dest / "unet").mkdir(parents=True)
    (dest / f"{UNET}.incomplete").symlink_to(mine)
    hub.fetch(MODEL, dest=dest)
    assert mine.read_text() == "mine" and contents(dest) == wanted(files)


# ---- several at once, and kills

WORKER = """
import sys, warnings
from huggingface_hub import constants
from minisd import hub
warnings.simplefilter("ignore")
for line in sys.stdin:
    constants.HF_HUB_CACHE, dest = line.strip().split("|")
    try:
        print(hub.fetch("someone/speck", dest=dest or None), flush=True)
    except (OSError, ValueError) as error:
        print("failed:", repr(error), flush=True)
"""


def worker(url, first=""):
    """A process that fetches for each line it reads: a cache, |, and perhaps a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER],
        env={**os.environ, "HF_ENDPOINT": url, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    process.stdin.write(first)
    process.stdin.flush()
    return process


def test_two_processes_that_fetch_one_model_at_once(server, tmp_path, files):
    """25 pairs into a cache, and five into a folder: each byte comes once, and both get all of them."""
    server.files = server.sent = files | {UNET: files[UNET][: 20 * PIECE]}
    server.slow = 0.0005
    workers = [worker(server.url) for _ in range(2)]
    for number in range(30):
        place, dest = tmp_path / str(number), tmp_path / f"dest{number}" if number >= 25 else ""
        server.asked.clear()
        for process in workers:
            process.stdin.write(f"{place}|{dest}\n")
            process.stdin.flush()
        folders = {process.stdout.readline().strip() for process in workers}
        assert len(folders) == 1 and contents(Path(folders.pop())) == wanted(server.files)
        assert server.gets(UNET) == [None], number
        if not dest:
            assert_clean(place / "models--someone--speck")
    for process in workers:
        process.communicate(timeout=60)


@pytest.mark.parametrize("first", ["named", "measured"])
def test_a_part_that_another_process_names_meanwhile(tmp_path, monkeypatch, first):
    """Seen once in CI: the part was there, and had become the file before its size was asked for."""
    target, stat, left = tmp_path / "weights", Path.stat, ["part"]
    part = hub.incomplete(target)
    part.write_bytes(b"12345")

    def measured(path, *args, **kwargs):
        if path != part or not left:
            return stat(path, *args, **kwargs)
        left.clear()
        found = None if first == "named" else stat(path, *args, **kwargs)
        part.rename(target)
        return found or stat(path, *args, **kwargs)

    monkeypatch.setattr(Path, "stat", measured)
    assert hub.bytes_there(target, 10) == 5


def test_a_killed_download_goes_on_where_it_was(server, tmp_path, files):
    """Killed three times: each goes on from the bytes that the one before left."""
    server.files = server.sent = files | {UNET: files[UNET][: 200 * PIECE]}
    server.slow = 0.01
    place = tmp_path / "cache" / "models--someone--speck"
    part = place / "blobs" / (digests(server.files[UNET])[1] + ".incomplete")
    left = [0]
    for _ in range(3):
        process = worker(server.url, f"{place.parent}|\n")
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size > left[-1] + 50_000) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        assert process.communicate(timeout=60)[0] == ""
        left.append(part.stat().st_size)
    server.slow = 0.0
    out, _ = worker(server.url).communicate(f"{place.parent}|\n", timeout=60)
    assert contents(Path(out.strip())) == wanted(server.files)
    assert_clean(place)
    assert server.gets(UNET) == [None, *(f"bytes={size}-" for size in left[1:])]
