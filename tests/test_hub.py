"""Downloads, against a server on loopback that speaks the hub's protocol: complete, resumed, damaged,
refused.
"""

import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import constants, hf_hub_download

from minisd import StableDiffusion, cli, hub, transfer
from small import small_pipeline

REPO, COMMIT = "someone/speck", "0123456789abcdef0123456789abcdef01234567"
UNET = "unet/diffusion_pytorch_model.safetensors"
MODEL = hub.Published(REPO, COMMIT)
ROOT = Path(__file__).parent.parent
PIECE = 4000  # bytes that a download writes at a time


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What the repository holds: a small model, half-precision twins, and what nobody should fetch."""
    pipe, held = small_pipeline(), {}
    for dtype, half in ((torch.float32, ""), (torch.float16, ".fp16")):
        folder = tmp_path_factory.mktemp("hub") / "speck"
        pipe.save_pretrained(folder, dtype)
        for path in folder.rglob("*.*"):
            name = path.relative_to(folder).as_posix()
            held[name.replace(".safetensors", f"{half}.safetensors")] = path.read_bytes()
    for name in (
        "README.md",
        "unet/diffusion_pytorch_model.bin",
        "safety_checker/model.safetensors",
        "speck.ckpt",
    ):
        held[name] = b"not wanted"
    return held


def digests(data):
    """How the hub names bytes: SHA-1 of the Git blob, SHA-256."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(), hashlib.sha256(data).hexdigest()


class Hub(http.server.ThreadingHTTPServer):
    """The parts of the hub that huggingface_hub asks: model_info, `resolve` (HEAD and GET), the file store
    behind it.

    Weights are LFS files: `resolve` sends their SHA-256 and redirects to another host name, where Range
    works. As on the hub their answers also offer Xet, another way to the bytes; that way is not served here.
    """

    daemon_threads = True

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url, self.store = (f"http://{name}:{self.server_port}" for name in ("127.0.0.1", "localhost"))
        self.files, self.sent, self.asked = files, dict(files), []
        self.refuse = None  # status and X-Error-Code of every answer
        self.cut = {}  # after how many bytes of a file the connection breaks: every time, or once
        self.slow = 0.0  # seconds between pieces of a file
        self.listing = None  # what is made of the description of the repository before it is sent
        self.says = {}  # how a file's store answers in place of the truth: a function of a handler
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # a client that went away

    def gets(self, name):
        """The Range headers of the requests for a large file's bytes."""
        return [headers.get("range") for headers in self.requests("GET", f"/store/{name}")]

    def requests(self, method, start):
        """The headers of all requests of a kind whose path begins so."""
        return [headers for way, path, headers in self.asked if way == method and path.startswith(start)]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # it holds back the end of an answer for 40 ms

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def reply(self, status, headers, body=b""):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def answer(self):
        hub, path = self.server, self.path.partition("?")[0]
        hub.asked.append((self.command, path, {name.lower(): value for name, value in self.headers.items()}))
        if hub.refuse:
            status, code = hub.refuse
            return self.reply(status, {"Content-Length": 0, **({"X-Error-Code": code} if code else {})})
        if re.fullmatch(rf"/api/models/{REPO}/revision/({COMMIT}|main)", path):
            siblings = []
            for name, data in hub.files.items():
                git, sha256 = digests(data)
                siblings.append({"rfilename": name, "size": len(data), "blobId": git})
                if large(name):
                    siblings[-1]["lfs"] = {"size": len(data), "sha256": sha256, "pointerSize": 134}
            head, body = {"Content-Type": "application/json"}, {"sha": COMMIT, "siblings": siblings}
            body = hub.listing(body, head) if hub.listing else body
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            return self.reply(200, head | {"Content-Length": len(body)}, body)
        if found := re.fullmatch(rf"/{REPO}/resolve/({COMMIT}|main)/(.+)", path):
            name = found[2]
            git, sha256 = digests(hub.files[name])
            head = {"X-Repo-Commit": COMMIT}
            if large(name):
                head |= {
                    "X-Linked-Etag": f'"{sha256}"',
                    "X-Linked-Size": len(hub.files[name]),
                    "Content-Length": 0,
                    "Location": f"{hub.store}/store/{name}",
                    "X-Xet-Hash": sha256,
                    "Link": f'<{hub.url}/xet>; rel="xet-auth"',
                }
                return self.reply(302, head)
            self.bytes_of(name, head | {"ETag": f'"{git}"'})
            return None
        if path.startswith("/store/"):
            self.bytes_of(path.removeprefix("/store/"), {})
            return None
        return self.reply(404, {"Content-Length": 0, "X-Error-Code": "RepoNotFound"})

    def bytes_of(self, name, head):
        hub, data, start = self.server, self.server.sent[name], 0
        if name in hub.says and self.command == "GET":
            self.close_connection = True
            hub.says[name](self)
            return
        if self.headers["Range"]:
            start = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1])
            head |= {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        self.reply(206 if start else 200, head | {"Content-Length": len(data) - start})
        end = min(len(data), start + hub.cut.get(name, len(data)))
        for at in range(start, end, PIECE):
            self.wfile.write(data[at : min(at + PIECE, end)])
            time.sleep(hub.slow)
        self.close_connection = end < len(data)


def large(name):
    return name.endswith((".safetensors", ".bin", ".ckpt"))


@pytest.fixture
def server(files, tmp_path, monkeypatch):
    """The server, and huggingface_hub pointed at it with an empty cache."""
    server = Hub(files)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    address = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(transfer, "WAIT", 0.0)  # before a new try
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # slow; test_files.py sees that it is called
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "models--someone--speck"


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def wanted(files, half=""):
    names = {*hub.CONFIGS, *hub.OPTIONAL, *(f"{name}{half}.safetensors" for name in hub.WEIGHTS)}
    return {name: data for name, data in files.items() if name in names}


def only(files, *endings):
    """What is left of a repository without the files whose names end so."""
    return {name: data for name, data in files.items() if not name.endswith(endings)}


def assert_clean(cache):
    """Every file of the cache has the bytes that its name says; nothing half-done, nothing beside it."""
    for blob in (cache / "blobs").iterdir():
        assert blob.name in digests(blob.read_bytes()), blob
    assert {path.name for path in cache.parent.iterdir()} == {cache.name, ".locks"}


def command(url, tmp_path, *words, before=lambda: None, **more):
    """`minisd download` in a process of its own, as a user has it."""
    start = "import sys, minisd.cli; sys.exit(minisd.cli.main(['download', *sys.argv[1:]]))"
    more = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT), **more}

    # A shell starts its background jobs deaf to SIGINT, and their children with them: hear it again.
    def hearing():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        before()

    return subprocess.Popen(
        [sys.executable, "-c", start, *words],
        env={**os.environ, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        preexec_fn=hearing,
    )


# ---- the table


def test_the_table_names_the_two_commits_and_whole_digests():
    assert {name: (model.repo, model.revision) for name, model in hub.PUBLISHED.items()} == {
        "sd15": ("stable-diffusion-v1-5/stable-diffusion-v1-5", "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"),
        "v1-4": ("CompVis/stable-diffusion-v1-4", "133a221b8aa7292a167afc5127cb63fb5005638b"),
    }
    weights = {f"{name}{half}.safetensors" for name in hub.WEIGHTS for half in ("", ".fp16")}
    assert set(hub.PUBLISHED["sd15"].sha256) == weights
    assert set(hub.PUBLISHED["v1-4"].sha256) == {name for name in weights if ".fp16" in name}
    for model in hub.PUBLISHED.values():
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in model.sha256.values())
        assert len(set(model.sha256.values())) == len(model.sha256)


# ---- what comes


@pytest.mark.parametrize("half", ["", ".fp16"])
def test_a_download_is_the_files_needed_and_paints(server, cache, files, half):
    folder = hub.fetch(MODEL, fp16=bool(half))
    assert folder == cache / "snapshots" / COMMIT
    assert contents(folder) == wanted(files, half)
    assert not list(cache.rglob("*.incomplete"))
    asked = len(server.asked)
    assert hub.fetch(MODEL) == hub.fetch(MODEL, fp16=bool(half)) == folder  # fp16 None: what is there
    assert len(server.asked) == asked
    picture = StableDiffusion.from_pretrained(folder)("a red house", num_inference_steps=1, output_type="np")
    assert picture.shape == (1, 64, 64, 3)


def test_the_newest_revision_of_any_repository(server, cache, files):
    folder = hub.fetch(REPO)
    assert contents(folder) == wanted(files) and (cache / "refs" / "main").read_text() == COMMIT
    # The digests are those of a commit: should `main` move on meanwhile, its bytes would be others.
    assert not server.requests("GET", f"/{REPO}/resolve/main/")
    asked = len(server.asked)
    assert hub.fetch(REPO) == folder and len(server.asked) == asked


def test_other_programs_find_the_files_in_the_cache(server):
    """Those with huggingface_hub, without a connection and with one."""
    folder = hub.fetch(REPO)
    before = len(server.gets(UNET))
    for offline in (True, False):
        found = hf_hub_download(REPO, UNET, cache_dir=constants.HF_HUB_CACHE, local_files_only=offline)
        assert Path(found) == folder / UNET
    assert len(server.gets(UNET)) == before


def test_every_byte_comes_once_over_plain_http_and_no_token_leaves_the_hub(server):
    hub.fetch(MODEL)
    got = [path for method, path, _ in server.asked if method == "GET" and path.startswith("/store/")]
    assert sorted(got) == sorted(f"/store/{name}.safetensors" for name in hub.WEIGHTS)
    assert not [path for _, path, _ in server.asked if "xet" in path]
    for _, path, headers in server.asked:
        assert headers.get("authorization") == (None if path.startswith("/store/") else "Bearer hf_secret"), (
            path
        )
    # Of bytes sent compressed one can't ask for the rest.
    bytes_of = server.requests("GET", "/store/") + server.requests("GET", f"/{REPO}/resolve/")
    assert {headers["accept-encoding"] for headers in bytes_of} == {"identity"}


def test_a_folder_of_ones_own(server, tmp_path, files):
    assert hub.fetch(MODEL, dest=tmp_path / "mine") == tmp_path / "mine"
    assert contents(tmp_path / "mine") == wanted(files)
    assert not (tmp_path / "cache").exists()
    before = len(server.gets(UNET))
    hub.fetch(MODEL, dest=tmp_path / "mine")
    assert len(server.gets(UNET)) == before
    (tmp_path / "mine" / "unet" / "config.json").write_text("{}")
    with pytest.raises(
        ValueError, match=r"^unet/config.json has other bytes than the hub states .*; remove \S+ if"
    ):
        hub.fetch(MODEL, dest=tmp_path / "mine")
    assert (tmp_path / "mine" / "unet" / "config.json").read_text() == "{}"  # it may be the user's own
    hub.fetch(MODEL)
    hub.fetch(MODEL, dest=tmp_path / "more")  # asked for, although the cache has it all
    assert contents(tmp_path / "more") == wanted(files)


def test_bytes_that_another_revision_left_in_the_cache_are_not_fetched_again(server, cache, files):
    hub.fetch(MODEL)
    (cache / "snapshots" / COMMIT).rename(cache / "snapshots" / COMMIT[::-1])
    before = len(server.gets(UNET))
    assert contents(hub.fetch(MODEL)) == wanted(files)
    assert len(server.gets(UNET)) == before


# ---- interruptions


def test_a_connection_that_breaks_is_taken_up_again(server, files):
    server.cut[UNET] = 60_000  # and so on, until all is there
    folder = hub.fetch(MODEL)
    assert (folder / UNET).read_bytes() == files[UNET]
    assert server.gets(UNET) == [None, *(f"bytes={n}-" for n in range(60_000, len(files[UNET]), 60_000))]


def test_a_stopped_download_goes_on_where_it_stopped(server, tmp_path, files):
    server.slow = 0.05
    process = command(server.url, tmp_path, REPO)
    blob = tmp_path / "home/hub/models--someone--speck/blobs" / (digests(files[UNET])[1] + ".incomplete")
    deadline = time.monotonic() + 60
    while not (blob.exists() and blob.stat().st_size > 20_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == "minisd: stopped; the same command fetches the rest\n"
    there, server.slow = blob.stat().st_size, 0.0
    assert 20_000 < there < len(files[UNET])
    server.asked.clear()
    process = command(server.url, tmp_path, REPO)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert set(server.gets(UNET)) == {f"bytes={there}-"}
    folder = Path(re.match(r"the model  (.+)\n", out)[1])
    assert contents(folder) == wanted(files)


def test_a_half_fetched_file_that_is_not_ours_costs_one_more_call(server, cache, files):
    blob = cache / "blobs" / digests(files[UNET])[1]
    blob.parent.mkdir(parents=True)
    part = blob.with_name(blob.name + ".incomplete")
    for left in (b"other bytes", b"too long" * len(files[UNET])):
        part.write_bytes(left)
        with pytest.raises(
            ValueError, match=f"^{UNET} has other bytes than the hub states .* give the same command"
        ):
            hub.fetch(MODEL)
        assert not part.exists() and not blob.exists()
    assert contents(hub.fetch(MODEL)) == wanted(files)


# ---- what goes wrong


def test_one_wrong_byte_is_found_and_the_file_removed(server, cache, files):
    broken = bytearray(files[UNET])
    broken[-1] ^= 1
    server.sent = {**files, UNET: bytes(broken)}
    with pytest.raises(ValueError) as error:
        hub.fetch(MODEL)
    given, expected = digests(bytes(broken))[1], digests(files[UNET])[1]
    assert re.match(
        rf"{UNET} has other bytes than the hub states \({given}, not {expected}\); ", str(error.value)
    )
    assert "\n" not in str(error.value)
    assert not [path for path in (cache / "blobs").iterdir() if path.name.startswith(expected)]
    assert not (cache / "snapshots").exists()
    server.sent = files
    assert contents(hub.fetch(MODEL)) == wanted(files)


def test_one_wrong_byte_in_a_small_file(server, files):
    server.sent = {**files, "tokenizer/merges.txt": files["tokenizer/merges.txt"].replace(b"a", b"b", 1)}
    with pytest.raises(ValueError, match="^tokenizer/merges.txt has other bytes than the hub states"):
        hub.fetch(MODEL)


def test_a_hub_that_has_other_weights_than_the_published_is_not_asked_for_them(server, files):
    pinned = hub.Published(REPO, COMMIT, {UNET: "0" * 64})
    with pytest.raises(
        ValueError, match=f"^the hub states {digests(files[UNET])[1]} as the SHA-256 of {UNET}, which"
    ):
        hub.fetch(pinned)
    assert len(server.asked) == 1
    hub.fetch(hub.Published(REPO, COMMIT, {UNET: digests(files[UNET])[1]}))


@pytest.mark.parametrize(
    "gone, kept, fp16, message",
    [
        (
            "fp16",
            {},
            True,
            "no text_encoder/model.fp16.safetensors: .*; it has full precision only: leave out",
        ),
        (
            "full",
            {},
            False,
            "no text_encoder/model.safetensors: .*; it has half precision only: ask for that",
        ),
        (
            "all",
            {},
            None,
            "no text_encoder/model.saf.*; it has pickles only, such as unet/diffusion_pytorch_mo",
        ),
        ("json", {}, None, r"no model_index.json: .*; it holds single files, such as speck.ckpt: fetch one"),
        ("merges.txt", {}, None, "no tokenizer/merges.txt: "),
    ],
)
def test_a_repository_without_what_is_needed(server, files, gone, kept, fp16, message):
    safetensors = tuple(name for name in files if name.endswith(".safetensors"))
    half = tuple(name for name in safetensors if ".fp16" in name)
    kinds = {"fp16": half, "full": tuple(set(safetensors) - set(half)), "all": safetensors, "json": ("json",)}
    server.files = server.sent = only(files, *kinds.get(gone, (gone,))) | kept
    with pytest.raises(FileNotFoundError, match=f"^{REPO} has {message}") as error:
        hub.fetch(MODEL, fp16=fp16)
    assert "\n" not in str(error.value) and len(server.asked) == 1


# ---- repositories of other kinds


@pytest.mark.parametrize("parts", [("text_encoder", "unet", "vae"), ("unet",)])
def test_half_precision_where_there_is_no_other(server, files, parts):
    gone = tuple(f"{name}.safetensors" for name in hub.WEIGHTS if name.startswith(parts))
    server.files = {name: data for name, data in files.items() if name not in gone}
    with pytest.warns(UserWarning, match=f"^{REPO} has {parts[0]}/.*fp16.* in half precision only: that is"):
        folder = hub.fetch(MODEL)
    expected = {name.replace(".saf", ".fp16.saf") if name in gone else name for name in wanted(files)}
    assert set(contents(folder)) == expected
    asked = len(server.asked)
    assert hub.fetch(MODEL) == folder and len(server.asked) == asked


def sharded(files, half=""):
    """The repository with its U-Net in two shards and an index, as diffusers saves them."""
    at, stem = len(files[UNET]) // 2, UNET.removesuffix(".safetensors")
    shards = {
        f"{stem}{half}-0000{i}-of-00002.safetensors": files[UNET][at * i : at * (i + 1)] for i in (0, 1)
    }
    weights = {f"layer.{i}": name.rpartition("/")[2] for i, name in enumerate(shards)}
    index = json.dumps({"metadata": {}, "weight_map": weights}).encode()
    return only(files, UNET) | shards | {f"{stem}.safetensors.index{half}.json": index}, set(shards)


@pytest.mark.parametrize("half", ["", ".fp16"])
def test_shards_and_their_index(server, cache, files, half):
    server.files, names = sharded(only(files, UNET.replace(".saf", ".fp16.saf")) if half else files, half)
    server.sent = server.files
    folder = hub.fetch(MODEL, fp16=bool(half))
    got = contents(folder)
    assert names < set(got) and UNET not in got
    assert all(server.files[name] == data for name, data in got.items())
    asked = len(server.asked)
    assert hub.fetch(MODEL) == folder and len(server.asked) == asked
    (folder / min(names)).unlink()
    assert hub.fetch(MODEL, fp16=bool(half)) == folder and set(contents(folder)) == set(got)  # it was missed
    assert_clean(cache)


@pytest.mark.parametrize(
    "index",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"weight_map": []}',
        b'{"weight_map": {}}',
        b'{"weight_map": {"a": null}}',
        b'{"weight_map": {"a": "../../../evil.safetensors"}}',
        b'{"weight_map": {"a": "/evil.safetensors"}}',
        b'{"weight_map": {"a": "..\\\\evil.safetensors"}}',
        b'{"weight_map": {"a": "evil.bin"}}',
        b'{"weight_map": {"a": "not-there.safetensors"}}',
        b"[" * 100_000,
    ],
)
def test_an_index_that_leads_elsewhere(server, cache, files, index):
    server.files, _ = sharded(files)
    server.files[UNET + ".index.json"] = index
    server.sent = server.files
    with pytest.raises(OSError) as error:
        hub.fetch(MODEL)
    assert "\n" not in str(error.value) and "unet/" in str(error.value)
    assert_clean(cache)


def test_a_tokenizer_in_one_file(server, files):
    server.files = only(files, "merges.txt", "vocab.json") | {
        hub.ONE_FILE: b"{}",
        "tokenizer/added_tokens.json": b"{}",
    }
    server.sent = server.files
    got = contents(hub.fetch(MODEL))
    assert {name for name in got if name.startswith("tokenizer/")} == {hub.ONE_FILE, *hub.OPTIONAL}
    server.files = server.files | {name: files[name] for name in hub.CONFIGS}  # the plain ones go first
    assert hub.ONE_FILE not in hub.needed(server.files, None)


def test_a_damaged_cache_is_noticed_if_one_asks(server, cache, files):
    folder = hub.fetch(MODEL)
    asked = len(server.asked)
    assert hub.fetch(MODEL, check=True) == folder and len(server.asked) == asked
    blob = cache / "blobs" / digests(files[UNET])[1]
    blob.write_bytes(files[UNET] * 2)
    assert hub.fetch(MODEL) == folder and blob.stat().st_size == 2 * len(files[UNET])
    with pytest.warns(UserWarning, match=f"^{blob} was damaged; it is fetched again$"):
        assert hub.fetch(MODEL, check=True) == folder
    assert contents(folder) == wanted(files)
    assert_clean(cache)


@pytest.mark.parametrize("link", ["hardlink_to", None])
def test_systems_without_symbolic_links(server, files, monkeypatch, link):
    def cannot(*_):
        raise OSError("a privilege that is not held")

    monkeypatch.setattr(Path, "symlink_to", cannot)
    if not link:
        monkeypatch.setattr(Path, "hardlink_to", cannot)
    folder = hub.fetch(REPO)
    assert contents(folder) == contents(hub.fetch(REPO)) == wanted(files)
    assert not any(path.is_symlink() for path in folder.rglob("*"))


@pytest.mark.parametrize(
    "status, code",
    [
        (404, "RepoNotFound"),
        (401, None),
        (403, "GatedRepo"),
        (403, None),
        (404, "RevisionNotFound"),
        (429, None),
        (503, None),
    ],
)
def test_a_hub_that_refuses(server, status, code):
    server.refuse = status, code
    with pytest.raises(OSError) as error:
        hub.fetch(MODEL)
    assert str(error.value) == (
        f"{server.url} answers {status} for {REPO} at {COMMIT}; check the name, try later, or for a private "
        f"or licensed model see {server.url}/{REPO} and run hf auth login"
    )


def test_too_little_room_is_told_before_anything_is_fetched(server, monkeypatch, cache, files):
    total = sum(map(len, wanted(files).values()))
    room = SimpleNamespace(free=total - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: room)
    with pytest.raises(
        OSError, match=r"^0.00 GB are to be fetched and \S+blobs has room for 0.00 GB; make room, or"
    ):
        hub.fetch(MODEL)
    assert len(server.asked) == 1
    part = cache / "blobs" / (digests(files[UNET])[1] + ".incomplete")
    part.write_bytes(files[UNET][:1])  # one byte less to fetch
    hub.fetch(MODEL)
    assert server.gets(UNET) == ["bytes=1-"]
    assert_clean(cache)


def test_a_disk_that_fills_up_while_writing(server, tmp_path, files):
    """The part that was written stays, and is gone on with."""
    resource = pytest.importorskip("resource")
    room = 500_000
    full = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (room, room))
    process = command(server.url, tmp_path, REPO, before=full)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert re.fullmatch(r"minisd: error: [^\n]*\b(room|full)\b[^\n]*\n", err)
    process = command(server.url, tmp_path, REPO)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert server.gets(UNET) == [None, f"bytes={room}-"]


@pytest.fixture(scope="module")
def nobody():
    """A port where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize(
    "more, reason", [({}, "refused"), ({"HF_HUB_OFFLINE": "1"}, "offline mode is enabled")]
)
def test_without_a_connection(tmp_path, nobody, more, reason):
    process = command(nobody, tmp_path, "sd15", **more)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert re.fullmatch(
        rf"minisd: error: no connection to {nobody} \([^\n]*{reason}[^\n]*\); what was fetched is kept for "
        r"the next try; if you have the files elsewhere, give their folder to --model\n",
        err,
    ), err


def test_a_connection_that_is_lost_and_does_not_come_back(server, files):
    server.cut[UNET] = 0
    with pytest.raises(
        ConnectionError, match="^no connection to .*; what was fetched is kept for the next try; if"
    ):
        hub.fetch(MODEL)
    del server.cut[UNET]
    assert contents(hub.fetch(MODEL)) == wanted(files)


@pytest.mark.parametrize("name", ["sd15", "stable-diffusion-v1-5/stable-diffusion-v1-5"])
def test_a_known_model_is_asked_for_at_its_commit(server, name):
    with pytest.raises(OSError, match="for stable-diffusion-v1-5/stable-diffusion-v1-5 at 451f4fe16113bff5"):
        hub.fetch(name)


@pytest.mark.parametrize("name", ["sd-15", "a/b/c", ""])
def test_names_that_are_none(server, name):
    with pytest.raises(
        ValueError, match=f"^no published model is called '{name}'; give sd15, v1-4 or an OWNER/NAME$"
    ):
        hub.fetch(name)
    assert not server.asked


def test_the_command(server, capsys, files, tmp_path):
    assert cli.main(["download", REPO, "--fp16", "--dest", str(tmp_path / "mine")]) == 0
    out, err = capsys.readouterr()
    assert err == "" and re.fullmatch(
        rf"the model  {tmp_path}/mine\nnext  .* paint .* --model {tmp_path}/mine\n", out
    )
    assert contents(tmp_path / "mine") == wanted(files, ".fp16")
