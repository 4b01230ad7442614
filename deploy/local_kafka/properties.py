"""The settings of the local broker: one KRaft node, nothing listening outside this machine."""

import socket
from collections.abc import Mapping
from pathlib import Path

HOST = "127.0.0.1"

# Sweeps for tests: time-outs of dead transactions are seen within a second.
TEST_PROPERTIES: dict[str, str] = {
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "group.min.session.timeout.ms": "1000",
    "log.cleaner.backoff.ms": "1000",
    "log.initial.task.delay.ms": "1000",
}

# A killed broker may come back only when its last session has run out, 9 s by default. Not for a
# broker that must live through a busy machine: too short a session fences a healthy one.
QUICK_RESTART_PROPERTIES: dict[str, str] = {
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}


def server_properties(
    data: Path, port: int, controller_port: int, extra: Mapping[str, str]
) -> dict[str, str]:
    """All settings; `extra` wins, with `{port}` and `{controller_port}` in its values filled in.

    The voters are given by address (a static quorum), so that the node starts again on other
    ports when somebody took the old ones.
    """
    properties = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "delete.topic.enable": "true",
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        # 5 instead of 50: one node gains nothing by more, and first uses are quicker.
        "offsets.topic.num.partitions": "5",
        "transaction.state.log.num.partitions": "5",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.partition.verification.enable": "true",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "unclean.leader.election.enable": "false",
        "group.initial.rebalance.delay.ms": "0",
    }
    filled = {
        key: value.replace("{port}", str(port)).replace("{controller_port}", str(controller_port))
        for key, value in extra.items()
    }
    return {**properties, **filled}


def properties_text(properties: Mapping[str, str]) -> str:
    """A Java properties file."""
    return "".join(f"{key}={_escaped(value)}\n" for key, value in properties.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; all different, as they are held until the last is known."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()


def is_free(port: int) -> bool:
    """True if the broker could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """True if somebody accepts a connection there."""
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False
