"""Kafka's jars: pinned by SHA-256 in `jars.json`, fetched by plain HTTPS, kept in a cache folder.

Only the jars whose classes the broker, its format tool, `ConfigCommand` (quotas) and
`TransactionsCommand` can reach are listed: 37 of the 94 that Maven would resolve, 40 MB instead
of 126.
"""

import contextlib
import fcntl
import hashlib
import http.client
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from deploy.local_kafka.errors import DownloadError

KAFKA_VERSION = "4.3.1"
MAVEN_CENTRAL = "https://repo1.maven.org/maven2"

PARALLEL_DOWNLOADS = 8
ATTEMPTS_PER_JAR = 4
# Of one read on the socket, not of a whole file: a slow line is no error, a dead one is.
READ_TIMEOUT_S = 30
RETRY_BACKOFF_S = 0.5
CHUNK_BYTES = 256 * 1024

# Called with (bytes had, bytes wanted) from several threads, one call at a time.
Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Jar:
    """One file of Maven Central; `size` in bytes."""

    group: str
    artifact: str
    version: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"

    @property
    def path(self) -> str:
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}/{self.name}"


def pinned_jars() -> list[Jar]:
    """The jars of this release, as pinned in the package."""
    text = files("deploy.local_kafka").joinpath("jars.json").read_text(encoding="utf-8")
    return [Jar(**row) for row in json.loads(text)]


def cache_folder(environ: Mapping[str, str]) -> Path:
    """The jars' place: MIDGATE_CACHE, else XDG_CACHE_HOME/midgate, else ~/.cache/midgate."""
    if environ.get("MIDGATE_CACHE"):
        root = Path(environ["MIDGATE_CACHE"])
    elif environ.get("XDG_CACHE_HOME"):
        root = Path(environ["XDG_CACHE_HOME"]) / "midgate"
    else:
        root = Path(environ["HOME"] if environ.get("HOME") else Path.home()) / ".cache/midgate"
    return root / f"kafka-{KAFKA_VERSION}"


def maven_url(environ: Mapping[str, str]) -> str:
    """`MIDGATE_MAVEN_URL` (a mirror of Maven Central), else Maven Central itself."""
    return environ.get("MIDGATE_MAVEN_URL", MAVEN_CENTRAL).rstrip("/")


def fetch_jars(
    folder: Path,
    *,
    jars: list[Jar] | None = None,
    url: str = MAVEN_CENTRAL,
    report: Report | None = None,
) -> list[Path]:
    """Return the paths of all jars, fetching what is missing or damaged.

    Whoever comes second while a fetch is under way waits for it and finds the files there. Bytes
    of an interrupted fetch are kept and resumed. Raises DownloadError.
    """
    wanted = pinned_jars() if jars is None else jars
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(folder):
            missing = [jar for jar in wanted if not _is_whole(folder / jar.name, jar)]
            if missing:
                _fetch_all(folder, missing, url, report)
    except OSError as error:
        raise DownloadError(
            f"the cache folder {folder} cannot be written: {error.strerror or error}",
            hint="free some space, mend its permissions, or set MIDGATE_CACHE to another folder",
        ) from error
    return [folder / jar.name for jar in wanted]


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_whole(path: Path, jar: Jar) -> bool:
    try:
        if path.stat().st_size != jar.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False


def _fetch_all(folder: Path, jars: list[Jar], url: str, report: Report | None) -> None:
    progress = _Progress(sum(jar.size for jar in jars), report)
    stop = threading.Event()
    with ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
        pending = [pool.submit(_fetch, folder, jar, url, progress, stop) for jar in jars]
        try:
            for future in pending:
                future.result()
        except BaseException:
            # One failure is enough to tell: the others keep what they have for the next try.
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


class _Progress:
    """Sums up the bytes of all threads and reports them one call at a time."""

    def __init__(self, total: int, report: Report | None) -> None:
        self._total = total
        self._had = 0
        self._report = report
        self._lock = threading.Lock()
        self.add(0)

    def add(self, count: int) -> None:
        with self._lock:
            self._had += count
            if self._report is not None:
                self._report(self._had, self._total)


class _StoppedError(Exception):
    """Another jar failed; this one is left as it is."""


def _fetch(folder: Path, jar: Jar, url: str, progress: _Progress, stop: threading.Event) -> None:
    part = folder / f"{jar.name}.part"
    address = f"{url}/{jar.path}"
    counted = 0
    for attempt in range(1, ATTEMPTS_PER_JAR + 1):
        had = part.stat().st_size if part.exists() else 0
        if had > jar.size:
            part.unlink()
            had = 0
        progress.add(had - counted)
        counted = had
        try:
            for count in _append(part, address, jar.size, had):
                counted += count
                progress.add(count)
                if stop.is_set():
                    raise _StoppedError
            break
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, EOFError) as error:
            status = error.code if isinstance(error, urllib.error.HTTPError) else 0
            if attempt == ATTEMPTS_PER_JAR or (400 <= status < 500 and status != 429):
                raise DownloadError(
                    f"{address} could not be fetched: {error}",
                    hint="check the network (proxy, certificates) and run it again: what is here"
                    " is kept; a mirror of Maven Central is set by MIDGATE_MAVEN_URL",
                ) from error
            stop.wait(RETRY_BACKOFF_S * 2**attempt)
    if not _is_whole(part, jar):
        part.unlink()
        raise DownloadError(
            f"{address} is not the file that was pinned (its SHA-256 differs)",
            hint="something between here and Maven Central changes downloads: run it again, on"
            " another network or mirror (MIDGATE_MAVEN_URL) if it stays",
        )
    part.replace(folder / jar.name)


def _append(part: Path, address: str, size: int, had: int) -> Iterator[int]:
    """Fetch what is missing at the end of `part`; yields the bytes written.

    A server that ignores the range sends the whole file again: the part starts anew, and the
    bytes had are taken back with a negative count. Never writes past `size`.
    """
    if had == size:
        return
    request = urllib.request.Request(address, headers={"User-Agent": "midgate"})  # noqa: S310
    if had:
        request.add_header("Range", f"bytes={had}-")
    with urllib.request.urlopen(request, timeout=READ_TIMEOUT_S) as answer:  # noqa: S310
        resumed = answer.status == http.client.PARTIAL_CONTENT
        if had and not resumed:
            yield -had
            had = 0
        with part.open("ab" if resumed else "wb") as file:
            while had < size:
                chunk = answer.read(min(CHUNK_BYTES, size - had))
                if not chunk:
                    raise EOFError(f"the connection ended after {had} of {size} bytes")
                file.write(chunk)
                had += len(chunk)
                yield len(chunk)
