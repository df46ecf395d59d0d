"""One file over HTTP, from a server of which nothing is believed: resumed, bounded in size and in time.

Connections, tokens and settings are huggingface_hub's. Its own download waits as long as a server likes and
takes every answer for the file; here bytes are kept only if the answer says that they are the missing ones.
Their digest shows whether they are the right ones; the caller compares it.
"""

import queue
import re
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from huggingface_hub import constants, errors, get_session
from huggingface_hub.utils import build_hf_headers, tqdm

PATIENCE = 60  # seconds in which its answer has to begin, or a description be complete
WINDOW, SLOWEST = 60, 1000  # over so many seconds, so many bytes a second is the least
TRIES = 5  # for bytes that don't come, one after another
WAIT, LONGEST_WAIT = 1.0, 20.0  # seconds between them, and most if the hub asks for more
TRY_LATER = (408, 429, 500, 502, 503, 504)  # statuses


@dataclass(frozen=True)
class File:
    """A file as the hub describes it. digest: 64 digits of a SHA-256, or 40 of a Git blob's SHA-1."""

    name: str
    size: int
    digest: str


class Refusal(Exception):
    """The hub answers with a status that is no success. wait: seconds until another try, None for no use."""

    def __init__(self, status: int, wait: float | None = None) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.wait = wait


@dataclass
class Pace:
    """Notices a server that sends so little that there will never be an end."""

    url: str
    there: int
    since: float = field(default_factory=time.monotonic)

    def check(self, there: int) -> None:
        """Compare with `there`, the bytes that are there now; ConnectionError if they are too few."""
        now = time.monotonic()
        if now - self.since < WINDOW:
            return
        if there - self.there < SLOWEST * WINDOW:
            raise ConnectionError(
                f"{self.url} sends fewer than {SLOWEST} bytes a second; what was fetched is kept: give the "
                "same command again later"
            )
        self.there, self.since = there, now


def fill(url: str, part: Path, file: File) -> None:
    """Bring a file's part up to its full size, taking broken connections up again."""
    failed = 0
    # A bar on terminals only (disable=None), as everywhere in minisd.
    bar = tqdm(total=file.size, desc=file.name, unit="B", unit_scale=True, disable=None)
    with bar, part.open("ab") as out:
        cut(out, min(out.tell(), file.size))
        pace = Pace(url, out.tell())
        while (start := out.tell()) < file.size:
            bar.update(start - bar.n)
            try:
                bring(url, out, file, pace, bar)
                continue
            except errors.HTTPError as error:
                failure: Exception = error
                wait = WAIT
            except Refusal as refusal:
                if refusal.wait is None:
                    raise
                failure, wait = refusal, refusal.wait
            failed = 0 if out.tell() > start else failed + 1
            if failed == TRIES:
                raise failure
            time.sleep(wait)
            pace.check(out.tell())


def cut(out: BinaryIO, size: int) -> None:
    out.seek(size)
    out.truncate()


def bring(url: str, out: BinaryIO, file: File, pace: Pace, bar: tqdm) -> None:
    """Ask once for the rest of a file, and write it to the end of `out`.

    If the answer did not state that it has just the missing bytes, they are kept only if it brings all.
    """
    start = out.tell()
    with closing(answer(url, {"Range": f"bytes={start}-"} if start else {})) as response:
        begin, stated = place_of(response, start, file, url)
        cut(out, begin)
        try:
            for piece in response.iter_raw():
                if out.tell() + len(piece) > file.size:
                    stated = False  # whatever it said
                    raise foreign(url, file, "more bytes than it has")
                out.write(piece)
                bar.update(out.tell() - bar.n)
                pace.check(out.tell())
            if out.tell() < file.size and not stated:
                raise foreign(url, file, "fewer bytes than it has")
        except BaseException:
            if not stated:
                cut(out, begin)
            raise
    if out.tell() < file.size:
        raise errors.HTTPError("the answer ended early")


def foreign(url: str, file: File, what: str) -> OSError:
    return OSError(
        f"{url} answers with something that is not {file.name} ({what}); a proxy or a login page may be in "
        "between; what was fetched before is kept: try later, or from another network"
    )


def place_of(response: errors.Response, start: int, file: File, url: str) -> tuple[int, bool]:
    """Where in a file the bytes of an answer belong, and whether it stated that they are all from there on.

    start: how many bytes the file has by now. Raises Refusal for a status, OSError for other bytes.
    """
    refuse_status(response, (200, 206))
    head, part = response.headers, response.status_code == 206
    begin = start if part else 0
    length, missing = head.get("Content-Length"), str(file.size - begin)
    stated = part or length is not None
    complaints = {
        "a part where all was asked for": part and not start,
        "another range of bytes": part
        and head.get("Content-Range") != f"bytes {start}-{file.size - 1}/{file.size}",
        "it is compressed": head.get("Content-Encoding", "identity") != "identity",
        "it is a web page": "html" in head.get("Content-Type", "").lower(),
        f"{length} bytes instead of {missing}": length not in (None, missing),
        "perhaps not the part that was asked for": bool(start) and not stated,
    }
    for what, is_so in complaints.items():
        if is_so:
            raise foreign(url, file, what)
    return begin, stated


def refuse_status(response: errors.Response, good: tuple[int, ...]) -> None:
    """Raise Refusal for other statuses than the good ones."""
    status, asked = response.status_code, response.headers.get("Retry-After", "")
    if status in good:
        return
    if status not in TRY_LATER:
        raise Refusal(status)
    seconds = float(asked[:9]) if re.fullmatch("[0-9]+", asked) else WAIT
    raise Refusal(status, min(seconds, LONGEST_WAIT))


def small_body(url: str, most: int, odd: Callable[[str], OSError]) -> bytes:
    """The body of an answer of at most that many bytes; raises what `odd` makes of a complaint."""
    body, begun = bytearray(), time.monotonic()
    with closing(answer(url, {})) as response:
        refuse_status(response, (200,))
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise odd("it is compressed")
        for piece in response.iter_raw():
            body += piece
            if len(body) > most:
                raise odd(f"more than {most >> 20} MB")
            if time.monotonic() - begun > PATIENCE:
                raise odd(f"not all of it after {PATIENCE} seconds")
    return bytes(body)


def answer(url: str, headers: dict[str, str]) -> errors.Response:
    """The answer to a GET, its body not yet read; redirections are followed, without the token elsewhere.

    Every wait for the network has its limit, but a server that sends its headers drop by drop never
    reaches one; so they are waited for in a thread, which is left to itself after a while.
    """
    session, wait = get_session(), constants.HF_HUB_DOWNLOAD_TIMEOUT
    # "identity": small answers could be huge, and large ones not be resumed, if they were sent compressed.
    headers = {**build_hf_headers(), **headers, "Accept-Encoding": "identity"}
    answers: queue.SimpleQueue[errors.Response | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            request = session.build_request("GET", url, headers=headers, timeout=wait)
            answers.put(session.send(request, stream=True, follow_redirects=True))
        except Exception as error:  # noqa: BLE001 (of whatever kind, it is raised again below)
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        found = answers.get(timeout=PATIENCE)
    except queue.Empty:
        raise errors.HTTPError(f"no answer in {PATIENCE} seconds") from None
    if isinstance(found, Exception):
        raise found
    return found
