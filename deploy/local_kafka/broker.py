"""Start and stop one real Kafka broker in a folder of its own.

A folder holds everything of one broker: its data, `server.properties`, `kafka.log` and
`kafka.pid`. The broker lives in a session of its own, so it outlives the command that started
it; any later command finds it again by the pid file.
"""

import base64
import contextlib
import fcntl
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from deploy.local_kafka import process
from deploy.local_kafka.errors import LocalKafkaError
from deploy.local_kafka.jars import Report, cache_folder, fetch_jars, maven_url
from deploy.local_kafka.java import find_java
from deploy.local_kafka.process import Running
from deploy.local_kafka.properties import (
    HOST,
    answers,
    free_ports,
    is_free,
    properties_text,
    server_properties,
)

START_TIMEOUT_S = 120
FORMAT_TIMEOUT_S = 90
STOP_TIMEOUT_S = 20
# Between choosing a free port and listening on it somebody else can take it.
START_ATTEMPTS = 3
LOG_TAIL_LINES = 15
LOG_TAIL_BYTES = 64 * 1024
# For a JVM that lives seconds: compiled lightly, it needs half of the processor time.
QUICK_JVM = ("-XX:TieredStopAtLevel=1",)
# Kafka's last word when everything is up: listeners open, the node no longer fenced.
READY = "Kafka Server started"
PORT_TAKEN = "Address already in use"


class LocalKafka:
    """One broker in one folder; the object may be made anew at any time for a running one."""

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        extra_properties: Mapping[str, str] | None = None,
        scram_users: Mapping[str, str] | None = None,
        jvm_heap: str = "512m",
        jvm_options: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """`port` None: the folder's last port if free, else one the system gives.

        `extra_properties` win over ours (see `server_properties`); `scram_users` (name ->
        password, SCRAM-SHA-512) exist from the first start of the folder on.
        """
        self.folder = folder.absolute()
        self._port = port
        self._extra = dict(extra_properties or {})
        self._scram_users = dict(scram_users or {})
        self._jvm_heap = jvm_heap
        self._jvm_options = list(jvm_options)
        self._environ = os.environ if environ is None else environ
        self._child: subprocess.Popen[bytes] | None = None
        self._pid_file = self.folder / "kafka.pid"
        self._log_file = self.folder / "kafka.log"
        self._properties_file = self.folder / "server.properties"
        self._data = self.folder / "data"

    @property
    def running(self) -> Running | None:
        """The living broker of this folder, whoever started it. A stale pid file counts as none."""
        if self._child is not None:
            self._child.poll()  # reaps our own child once it ended
        found = process.read_pid_file(self._pid_file)
        return found if found is not None and process.is_alive(found) else None

    @property
    def bootstrap(self) -> str:
        """Address of the running broker. Raises LocalKafkaError when none runs."""
        running = self.running
        if running is None:
            raise LocalKafkaError(
                f"no broker runs in {self.folder}", hint="start one with `midgate up`"
            )
        return f"{HOST}:{running.port}"

    def start(self, *, timeout_s: float = START_TIMEOUT_S, report: Report | None = None) -> str:
        """Make the broker ready and return its address; nothing to do if it runs already.

        `report` hears about the download of the jars. Raises DownloadError, JavaError or
        LocalKafkaError, each with a hint.
        """
        with self._locked_folder():
            running = self.running
            if running is not None:
                if self._port not in (None, running.port):
                    raise LocalKafkaError(
                        f"the broker in {self.folder} runs already, on port {running.port}",
                        hint="stop it first with `midgate down`, or leave --port out",
                    )
                if not answers(running.port):
                    raise LocalKafkaError(
                        f"the broker in {self.folder} runs (process {running.pid}) but does not"
                        f" listen on port {running.port}",
                        hint="stop it with `midgate down` and start again",
                    )
                return self.bootstrap
            if self._port is not None and not is_free(self._port):
                raise self._port_taken(self._port)
            java = find_java(self._environ).executable
            jars = fetch_jars(
                cache_folder(self._environ), url=maven_url(self._environ), report=report
            )
            with self._claim() as claim:
                for _ in range(START_ATTEMPTS if self._port is None else 1):
                    if self._start_once(java, jars, claim, timeout_s):
                        return self.bootstrap
            raise self._port_taken(self._port)

    def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """End the broker; False if none was running. Raises LocalKafkaError if it stays."""
        running = self.running
        if running is None:
            self._pid_file.unlink(missing_ok=True)
            return False
        try:
            gone = process.end(running, term_timeout_s=timeout_s)
        except PermissionError as error:
            raise LocalKafkaError(
                f"process {running.pid} belongs to another user",
                hint="stop it as the user who started it",
            ) from error
        if not gone:
            raise LocalKafkaError(
                f"process {running.pid} does not end, not even by SIGKILL",
                hint="it hangs inside the kernel, most likely on its disk: look there",
            )
        self._reap()
        self._pid_file.unlink(missing_ok=True)
        return True

    def kill(self) -> None:
        """SIGKILL the broker, as a crash would; `start` brings it back with its data and port."""
        running = self.running
        if running is not None and not process.kill(running):
            raise LocalKafkaError(f"process {running.pid} does not end", hint="see its disk")
        self._reap()

    def purge(self) -> None:
        """Remove what a stopped broker leaves: data, log, settings."""
        if self.running is not None:
            raise LocalKafkaError(f"a broker runs in {self.folder}", hint="stop it first")
        shutil.rmtree(self._data, ignore_errors=True)
        for name in ("kafka.pid", "kafka.log", "server.properties", "start.lock", "in_use.lock"):
            (self.folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # holds something that is not ours: stays
            self.folder.rmdir()

    def log_tail(self, since: int = 0) -> list[str]:
        """The last lines of the broker's log, at most from byte `since` on."""
        try:
            with self._log_file.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(since, end - LOG_TAIL_BYTES))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return []
        # Frames of Java stacks would push the one line that counts out of the tail.
        return [line for line in lines if not line.startswith("\t")][-LOG_TAIL_LINES:]

    @contextlib.contextmanager
    def _locked_folder(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "start.lock").open("w")
        except OSError as error:
            raise LocalKafkaError(
                f"the folder {self.folder} cannot be written: {error.strerror or error}",
                hint="mend its permissions or give another folder by --dir",
            ) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _claim(self) -> Iterator[int]:
        """A lock that the broker inherits and so holds as long as it lives, remembered or not.

        Kafka's own lock is no protection: a second controller writes into the metadata log of the
        first before it meets that lock.
        """
        with (self.folder / "in_use.lock").open("w") as claim:
            try:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LocalKafkaError(
                    f"a broker that nobody remembers (its pid file is gone) uses {self.folder}",
                    hint=f"find it by `ps ax | grep {self._properties_file}` and stop it,"
                    " or give another folder by --dir",
                ) from error
            yield claim.fileno()

    def _choose_ports(self) -> tuple[int, int]:
        last = process.read_pid_file(self._pid_file)
        port, controller_port = free_ports(2)
        if last is not None and is_free(last.port):
            port = last.port
        return self._port or port, controller_port

    def _start_once(self, java: Path, jars: list[Path], claim: int, timeout_s: float) -> bool:
        """One attempt; False if a port was taken meanwhile."""
        port, controller_port = self._choose_ports()
        settings = server_properties(self._data, port, controller_port, self._extra)
        try:
            self._properties_file.write_text(properties_text(settings))
            self._properties_file.chmod(0o600)
            if not (self._data / "meta.properties").exists():
                self._format(java, jars)
            since = self._log_file.stat().st_size if self._log_file.exists() else 0
            with self._log_file.open("ab") as log:
                self._child = subprocess.Popen(
                    [
                        *self._java_command(java, jars, self._jvm_options),
                        "kafka.Kafka",
                        self._properties_file,
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.folder,
                    start_new_session=True,
                    pass_fds=(claim,),
                )
        except OSError as error:
            raise LocalKafkaError(
                f"the broker in {self.folder} cannot be started: {error}",
                hint="see whether the disk is full and the folder writable",
            ) from error
        pid = self._child.pid
        started = process.start_of(pid)
        if started is not None:
            process.write_pid_file(self._pid_file, Running(pid, started, port, controller_port))
        try:
            return self._wait_until_ready(self._child, port, since, timeout_s)
        except BaseException:
            # Interrupted or failed: nothing half started is left behind.
            self.kill()
            raise

    def _wait_until_ready(
        self, child: subprocess.Popen[bytes], port: int, since: int, timeout_s: float
    ) -> bool:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if child.poll() is not None:
                text = "\n".join(self.log_tail(since))
                if PORT_TAKEN in text:
                    return False
                raise self._start_failed(f"ended with exit code {child.returncode}", since)
            if self._says_ready(since) and answers(port):
                return True
            time.sleep(0.05)
        raise self._start_failed(f"is not ready after {timeout_s:g} s", since)

    def _says_ready(self, since: int) -> bool:
        with self._log_file.open("rb") as file:
            file.seek(since)
            return READY.encode() in file.read()

    def _start_failed(self, what: str, since: int) -> LocalKafkaError:
        tail = self.log_tail(since)
        hint = f"its whole log is {self._log_file}"
        if any("OutOfMemory" in line or "not enough space" in line for line in tail):
            hint = "give the machine more memory: the broker needs about 1 GB"
        lines = "\n".join(f"  {line}" for line in tail) or "  (its log is empty)"
        return LocalKafkaError(f"the broker in {self.folder} {what}:\n{lines}", hint=hint)

    def _port_taken(self, port: int | None) -> LocalKafkaError:
        return LocalKafkaError(
            f"port {port} is taken by another program" if port else "no port could be had",
            hint="give another by --port, or none and the system chooses",
        )

    def _format(self, java: Path, jars: list[Path]) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        command = [*self._java_command(java, jars, QUICK_JVM), "kafka.tools.StorageTool", "format"]
        # A leading dash in the id would be read as an option.
        command += [f"--cluster-id={cluster}", "-c", self._properties_file]
        for name, password in self._scram_users.items():
            command += ["--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]"]
        try:
            answer = subprocess.run(
                command, capture_output=True, text=True, timeout=FORMAT_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise LocalKafkaError(
                f"formatting {self._data} took longer than {FORMAT_TIMEOUT_S} s",
                hint="the machine is too busy, or its disk hangs",
            ) from error
        if answer.returncode != 0:
            raise LocalKafkaError(
                f"the folder {self._data} could not be formatted:\n{answer.stderr.strip()[-2000:]}",
                hint="see whether the disk is full and the folder writable, or give another --dir",
            )

    def _java_command(
        self, java: Path, jars: list[Path], options: Sequence[str]
    ) -> list[str | Path]:
        return [
            java,
            *options,
            f"-Xmx{self._jvm_heap}",
            "-XX:+UseG1GC",
            "-XX:MaxGCPauseMillis=20",
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
            "-cp",
            ":".join(str(jar) for jar in jars),
        ]

    def _reap(self) -> None:
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout=5)
