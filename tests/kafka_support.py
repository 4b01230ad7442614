"""Brokers for tests: which one to use, and what happens when there is none."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

from deploy.local_kafka.broker import QUICK_JVM, LocalKafka
from deploy.local_kafka.jars import cache_folder, fetch_jars, maven_url
from deploy.local_kafka.java import find_java
from deploy.local_kafka.properties import QUICK_RESTART_PROPERTIES, TEST_PROPERTIES
from streams.errors import MidgateError

BROKER_FIXTURES = {"kafka", "broker_factory", "kafka_settings", "midgate_topics"}
BrokerFactory = Callable[..., LocalKafka]


@dataclass(frozen=True)
class KafkaUnderTest:
    """The broker that the tests of one session share."""

    bootstrap: str


def no_broker(error: MidgateError) -> NoReturn:
    """Skip loudly; fail where a broker is required, so that nobody takes a skip for a pass."""
    text = f"no broker for the tests: {error} (hint: {error.hint})"
    if os.environ.get("REQUIRE_BROKER") == "1":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def fetch_jars_for(items: list[pytest.Item]) -> None:
    """Fetch Kafka's jars before the first test, where no test's time limit counts.

    An error is left for the fixture, which meets it again and says it where it belongs.
    """
    wanted = any(BROKER_FIXTURES & set(getattr(item, "fixturenames", ())) for item in items)
    if wanted:
        try:
            fetch_jars(cache_folder(os.environ), url=maven_url(os.environ))
        except MidgateError:
            return


def fetch_jars_or_skip() -> None:
    """For tests that start a broker by a command of ours, not by a fixture."""
    try:
        find_java(os.environ)
        fetch_jars(cache_folder(os.environ), url=maven_url(os.environ))
    except MidgateError as error:
        no_broker(error)


@dataclass
class OwnBrokers:
    """Brokers of one test, all ended with it."""

    folder: Path
    started: list[LocalKafka] = field(default_factory=list)

    def start(
        self,
        extra_properties: dict[str, str] | None = None,
        *,
        port: int | None = None,
        scram_users: dict[str, str] | None = None,
        jvm_heap: str = "512m",
    ) -> LocalKafka:
        """A running broker of the test's own, which it may stop, kill and start again."""
        broker = LocalKafka(
            self.folder / f"kafka{len(self.started)}",
            port,
            extra_properties={
                **TEST_PROPERTIES,
                **QUICK_RESTART_PROPERTIES,
                **(extra_properties or {}),
            },
            scram_users=scram_users,
            jvm_heap=jvm_heap,
            jvm_options=QUICK_JVM,
        )
        self.started.append(broker)
        broker.start()
        return broker

    def end(self) -> None:
        for broker in self.started:
            broker.kill()
            drop_data(broker)


def drop_data(broker: LocalKafka) -> None:
    """Keep the log, drop the rest: pytest keeps the folders of its last runs."""
    shutil.rmtree(broker.folder / "data", ignore_errors=True)
