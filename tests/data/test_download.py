"""Downloads from a real server on this machine: the right file, or a message and nothing left behind."""

import contextlib
import gzip
import hashlib
import http.server
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from manyhands.core.errors import ChecksumError, DownloadError, MissingDataError
from manyhands.data import download
from manyhands.data.download import Published

CONTENT = gzip.compress(bytes(range(256)) * 400, compresslevel=0, mtime=0)  # larger than one piece of a transfer
FILES = {"a.gz": Published(hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the first folder of the address says."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.close_connection = True
        with contextlib.suppress(ConnectionError):  # clients may lose their patience
            getattr(self, self.path.split("/")[1])()

    def send(self, content: bytes, length: object = None, **headers: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def good(self) -> None:
        self.send(CONTENT)

    def compressing(self) -> None:
        self.send(CONTENT, Content_Encoding="x-gzip")  # as Apache calls a .gz file; clients may then unpack it

    def missing(self) -> None:
        self.send_error(404)

    def wrong(self) -> None:
        self.send(b"a login page")

    def cut(self) -> None:
        self.send(CONTENT[:70_000], len(CONTENT))

    def lengthless(self) -> None:
        self.send(b"?", "many")

    def moved(self) -> None:
        self.send_response(302)
        self.send_header("Location", self.path)  # in a circle
        self.end_headers()

    def silent(self) -> None:
        self.server.closing.wait(20)

    def stalled(self) -> None:
        self.send(CONTENT[:70_000], len(CONTENT))
        self.server.closing.wait(20)

    def trickling(self) -> None:
        self.send(b"", len(CONTENT))
        for byte in CONTENT[:80]:  # 4 s, and never a pause long enough for a timeout
            self.wfile.write(bytes([byte]))
            if self.server.closing.wait(0.05):
                return

    def endless(self) -> None:
        """As long as anybody listens, without saying how long."""
        self.send_response(200)
        self.end_headers()
        while not self.server.closing.is_set():
            self.wfile.write(CONTENT)

    def chunked(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while not self.server.closing.is_set():
            self.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    def longer(self) -> None:
        self.send(CONTENT + b"!")

    def longer_than_it_says(self) -> None:
        self.send(CONTENT + CONTENT, len(CONTENT))  # what is too much is not read

    def nothing(self) -> None:
        self.send(b"", len(CONTENT))

    def other_bytes(self) -> None:
        self.send(CONTENT[:-1] + b"!")

    def slow_headers(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not self.server.closing.wait(0.05):
            self.wfile.write(b"X-Slow: 1\r\n"[: 1 + len(self.path)])

    def to_a_file(self) -> None:
        self.redirect("file:///etc/passwd")

    def to_ftp(self) -> None:
        self.redirect("ftp://127.0.0.1/a.gz")

    def to_good(self) -> None:
        self.redirect("/good/a.gz")

    def redirect(self, address: str) -> None:
        self.send_response(302)
        self.send_header("Location", address)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


BAD = (
    *("missing", "wrong", "cut", "lengthless", "moved", "silent", "stalled"),
    pytest.param("trickling", marks=pytest.mark.slow),
    *("endless", "chunked", "longer", "nothing", "other_bytes", "to_a_file", "to_ftp"),
    pytest.param("slow_headers", marks=pytest.mark.slow),  # those that wait: once quickly, by what is said of them
)


class Server(http.server.ThreadingHTTPServer):
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.closing = threading.Event()

    def mirrors(self, *kinds: str) -> list[str]:
        return [f"http://127.0.0.1:{self.server_port}/{kind}/" for kind in kinds]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server in a thread, and a client that waits half a second where it would wait three or five."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "_CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(download, "_READ_SECONDS", 0.5)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fetch(mirrors: list[str], folder: Path, seconds: float = 30) -> None:
    download.fetch_all(FILES, mirrors, folder, seconds=seconds)


def closed_port() -> int:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return closed.getsockname()[1]


def test_a_file_comes_whole_into_a_new_folder(server, tmp_path):
    fetch(server.mirrors("good"), tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder" / "a.gz").read_bytes() == CONTENT
    assert names(tmp_path / "new" / "folder") == ["a.gz"]


def test_a_mirror_needs_no_slash_at_its_end(server, tmp_path):
    fetch([server.mirrors("good")[0].rstrip("/")], tmp_path)
    assert server.asked == ["/good/a.gz"]


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_mirror_gives_way_to_the_next(server, tmp_path, bad):
    fetch(server.mirrors(bad, "good"), tmp_path)
    assert (tmp_path / "a.gz").read_bytes() == CONTENT
    assert names(tmp_path) == ["a.gz"]


def test_a_mirror_that_is_down_gives_way_to_the_next(server, tmp_path):
    fetch([f"http://127.0.0.1:{closed_port()}/", *server.mirrors("good")], tmp_path)
    assert (tmp_path / "a.gz").read_bytes() == CONTENT


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_mirror_alone_is_a_download_error_in_time_and_leaves_nothing(server, tmp_path, bad):
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"a\.gz could not be downloaded"):
        fetch(server.mirrors(bad), tmp_path, seconds=1)
    assert time.monotonic() - start < 3
    assert names(tmp_path) == []


def test_the_message_lists_what_every_mirror_answered(server, tmp_path):
    down = f"http://127.0.0.1:{closed_port()}/"
    mirrors = [*server.mirrors("missing", "wrong", "cut"), down]
    with pytest.raises(DownloadError) as caught:
        fetch(mirrors, tmp_path)
    lines = [line.strip() for line in str(caught.value).splitlines()]
    answers = [next(line for line in lines if line.startswith(mirror)) for mirror in mirrors]
    assert "404" in answers[0]
    assert f"12 bytes (type unknown) instead of the file's {len(CONTENT)}" in answers[1]
    assert all(len(answer) > len(mirror) + 2 for answer, mirror in zip(answers, mirrors, strict=True))
    assert str(tmp_path) in lines[-1]


@pytest.mark.parametrize(
    ("bad", "answer"),
    [
        ("endless", f"more than the {len(CONTENT)} bytes"),
        ("chunked", f"more than the {len(CONTENT)} bytes"),
        ("other_bytes", "SHA-256 "),
        ("to_a_file", "it leads to file:///etc/passwd"),
        ("to_ftp", "it leads to ftp://127"),
        ("moved", "it leads from one address to the next"),
        ("slow_headers", "too slow"),
        ("trickling", "too slow"),
    ],
)
def test_the_message_says_what_was_wrong(server, tmp_path, bad, answer):
    with pytest.raises(DownloadError) as caught:
        fetch(server.mirrors(bad), tmp_path)
    assert f"{server.mirrors(bad)[0]}: {answer}" in str(caught.value)


@pytest.mark.parametrize("kind", ["to_good", "longer_than_it_says"])
def test_a_mirror_that_has_moved_or_sends_too_much_may_be_right(server, tmp_path, kind):
    fetch(server.mirrors(kind), tmp_path)
    assert (tmp_path / "a.gz").read_bytes() == CONTENT


@pytest.mark.parametrize("mirror", ["file:///etc/", "ftp://127.0.0.1/", "nonsense", "http://", "http://[/"])
def test_an_address_that_is_none_of_the_web_is_refused(tmp_path, mirror):
    with pytest.raises(DownloadError, match="could not be downloaded"):
        fetch([mirror], tmp_path)
    assert names(tmp_path) == []


def test_a_server_that_marks_the_file_as_compressed_delivers_it_still_packed(server, tmp_path):
    fetch(server.mirrors("compressing"), tmp_path)
    assert (tmp_path / "a.gz").read_bytes() == CONTENT


def test_files_that_are_there_are_not_fetched_again(server, tmp_path):
    (tmp_path / "a.gz").write_bytes(b"mine")
    download.fetch_all({**FILES, "b.gz": FILES["a.gz"]}, server.mirrors("good"), tmp_path, seconds=30)
    assert server.asked == ["/good/b.gz"]
    assert (tmp_path / "a.gz").read_bytes() == b"mine"


def test_no_further_mirror_is_asked_when_the_time_is_over(server, tmp_path):
    with pytest.raises(DownloadError):
        fetch(server.mirrors("missing", "good"), tmp_path, seconds=0)
    assert len(server.asked) <= 1


def test_a_folder_that_cannot_be_made_is_a_download_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="cannot make the folder") as caught:
        fetch([], tmp_path / "file" / "mnist")
    assert caught.value.path == tmp_path / "file" / "mnist"


def test_check_accepts_the_published_file(tmp_path):
    (tmp_path / "a.gz").write_bytes(CONTENT)
    assert download.check(tmp_path / "a.gz", FILES["a.gz"]) == CONTENT


def test_check_names_the_file_and_both_sums(tmp_path):
    (tmp_path / "a.gz").write_bytes(b"other")
    found = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(ChecksumError, match=f"{found[:12]}.*{FILES['a.gz'].sha256[:12]}.*delete the file") as caught:
        download.check(tmp_path / "a.gz", FILES["a.gz"])
    assert caught.value.path == tmp_path / "a.gz"


def test_a_missing_file_is_missing_data(tmp_path):
    with pytest.raises(MissingDataError, match=r"none\.gz: cannot be read"):
        download.check(tmp_path / "none.gz", FILES["a.gz"])


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_not_waited_for(tmp_path, make):
    make(tmp_path / "a.gz")
    with pytest.raises(MissingDataError, match=r"a\.gz: (it is no ordinary file|cannot be read)"):
        download.check(tmp_path / "a.gz", FILES["a.gz"])


def test_of_a_file_without_end_no_more_is_read_than_the_published_one_has(tmp_path):
    with open(tmp_path / "a.gz", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ChecksumError, match=f"of {len(CONTENT)} bytes"):
        download.check(tmp_path / "a.gz", FILES["a.gz"])
