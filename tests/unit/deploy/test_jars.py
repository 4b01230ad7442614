"""Fetching the jars, against a small web server on this machine that can be made to fail."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from deploy.local_kafka import jars
from deploy.local_kafka.errors import DownloadError
from deploy.local_kafka.jars import Jar, cache_folder, fetch_jars, maven_url, pinned_jars

BODY = bytes(range(256)) * 3000


def jar(name: str, body: bytes = BODY) -> Jar:
    return Jar("org.example", name, "1.0", hashlib.sha256(body).hexdigest(), len(body))


@dataclass
class Repository:
    """What the server has, and how it misbehaves."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: list[int] = field(default_factory=list)
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def repository() -> Iterator[Repository]:
    state = Repository()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.asked.append((self.path, asked))
            body = state.files.get(self.path)
            if body is None:
                self.send_error(404)
                return
            start = 0
            if asked and state.ranges:
                found = re.fullmatch(r"bytes=(\d+)-", asked)
                assert found
                start = int(found[1])
                self.send_response(206)
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            end = start + state.cut_after.pop(0) if state.cut_after else len(body)
            self.wfile.write(body[start:end])

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "RETRY_BACKOFF_S", 0.001)


def test_pinned_list_is_sound() -> None:
    """Every jar once, with a whole hash; the broker's own are of the release."""
    pinned = pinned_jars()
    assert len({one.name for one in pinned}) == len(pinned)
    assert all(re.fullmatch("[0-9a-f]{64}", one.sha256) and one.size > 0 for one in pinned)
    kafka = [one for one in pinned if one.group == "org.apache.kafka"]
    assert {one.version for one in kafka} == {jars.KAFKA_VERSION}
    assert {"kafka_2.13", "kafka-clients", "kafka-tools"} <= {one.artifact for one in kafka}


def test_fetched_once(repository: Repository, tmp_path: Path) -> None:
    """All are fetched and reported; a second call asks for nothing."""
    wanted = [jar(f"a{number}") for number in range(12)]
    repository.files = {f"/{one.path}": BODY for one in wanted}
    seen: list[tuple[int, int]] = []
    paths = fetch_jars(
        tmp_path, jars=wanted, url=repository.url, report=lambda *pair: seen.append(pair)
    )
    assert [path.read_bytes() for path in paths] == [BODY] * 12
    assert seen[0] == (0, 12 * len(BODY))
    assert seen[-1] == (12 * len(BODY), 12 * len(BODY))
    asked = len(repository.asked)
    assert fetch_jars(tmp_path, jars=wanted, url=repository.url) == paths
    assert len(repository.asked) == asked
    assert not list(tmp_path.glob("*.part"))


def test_cut_connection_is_resumed(repository: Repository, tmp_path: Path) -> None:
    """What came before the cut is not fetched again."""
    one = jar("a")
    repository.files = {f"/{one.path}": BODY}
    repository.cut_after = [300_000, 100_000]
    [path] = fetch_jars(tmp_path, jars=[one], url=repository.url)
    assert path.read_bytes() == BODY
    assert [header for _, header in repository.asked] == [
        None,
        "bytes=300000-",
        "bytes=400000-",
    ]


def test_part_of_an_earlier_run_is_resumed(repository: Repository, tmp_path: Path) -> None:
    one = jar("a")
    repository.files = {f"/{one.path}": BODY}
    (tmp_path / f"{one.name}.part").write_bytes(BODY[:1000])
    [path] = fetch_jars(tmp_path, jars=[one], url=repository.url)
    assert path.read_bytes() == BODY
    assert repository.asked == [(f"/{one.path}", "bytes=1000-")]


def test_server_without_ranges(repository: Repository, tmp_path: Path) -> None:
    """A server that sends everything again is not appended to what is there."""
    one = jar("a")
    repository.files = {f"/{one.path}": BODY}
    repository.ranges = False
    (tmp_path / f"{one.name}.part").write_bytes(b"z" * 1000)
    seen: list[tuple[int, int]] = []
    [path] = fetch_jars(
        tmp_path, jars=[one], url=repository.url, report=lambda *pair: seen.append(pair)
    )
    assert path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))


def test_wrong_hash_is_refused_and_not_kept(repository: Repository, tmp_path: Path) -> None:
    """Bytes that are not the pinned ones never get the jar's name, nor stay to be resumed."""
    one = jar("a")
    repository.files = {f"/{one.path}": BODY[:-1] + b"\0"}
    with pytest.raises(DownloadError, match="SHA-256") as caught:
        fetch_jars(tmp_path, jars=[one], url=repository.url)
    assert caught.value.hint
    assert not list(tmp_path.glob("*.jar*"))
    repository.files = {f"/{one.path}": BODY}
    assert fetch_jars(tmp_path, jars=[one], url=repository.url)


def test_damaged_file_is_fetched_again(repository: Repository, tmp_path: Path) -> None:
    one = jar("a")
    repository.files = {f"/{one.path}": BODY}
    (tmp_path / one.name).write_bytes(b"\0" * len(BODY))
    [path] = fetch_jars(tmp_path, jars=[one], url=repository.url)
    assert path.read_bytes() == BODY


def test_missing_file_is_named_at_once(repository: Repository, tmp_path: Path) -> None:
    one = jar("a")
    with pytest.raises(DownloadError, match=re.escape(one.path)) as caught:
        fetch_jars(tmp_path, jars=[one], url=repository.url)
    assert "MIDGATE_MAVEN_URL" in caught.value.hint
    assert len(repository.asked) == 1


def test_dead_line_gives_up_and_keeps_what_it_has(repository: Repository, tmp_path: Path) -> None:
    one = jar("a")
    repository.files = {f"/{one.path}": BODY}
    repository.cut_after = [1000] * jars.ATTEMPTS_PER_JAR
    with pytest.raises(DownloadError, match="could not be fetched"):
        fetch_jars(tmp_path, jars=[one], url=repository.url)
    had = (tmp_path / f"{one.name}.part").stat().st_size
    assert had == 1000 * jars.ATTEMPTS_PER_JAR


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="could not be fetched"):
        fetch_jars(tmp_path, jars=[jar("a")], url="http://127.0.0.1:1")


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match="cannot be written") as caught:
        fetch_jars(tmp_path / "file" / "cache", jars=[jar("a")], url="http://127.0.0.1:1")
    assert "MIDGATE_CACHE" in caught.value.hint


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HOME": "/h"}, "/h/.cache/midgate/kafka-4.3.1"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/x/midgate/kafka-4.3.1"),
        ({"XDG_CACHE_HOME": "/x", "MIDGATE_CACHE": "/m"}, "/m/kafka-4.3.1"),
    ],
)
def test_cache_folder(environ: dict[str, str], expected: str) -> None:
    assert str(cache_folder(environ)) == expected


def test_mirror() -> None:
    assert maven_url({}) == jars.MAVEN_CENTRAL
    assert maven_url({"MIDGATE_MAVEN_URL": "https://mirror/m2/"}) == "https://mirror/m2"
