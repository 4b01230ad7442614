"""Fixtures for tests on a real broker; nothing starts before the first test that asks for it."""

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.local_kafka.broker import QUICK_JVM, LocalKafka
from deploy.local_kafka.properties import TEST_PROPERTIES
from streams.errors import MidgateError
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from tests.kafka_support import (
    BrokerFactory,
    KafkaUnderTest,
    OwnBrokers,
    drop_data,
    fetch_jars_for,
    no_broker,
)

# Of the environment, tests take only what says where things come from.
KEPT_VARIABLES = {"MIDGATE_CACHE", "MIDGATE_MAVEN_URL", "MIDGATE_TEST_BOOTSTRAP"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bootstrap",
        default=os.environ.get("MIDGATE_TEST_BOOTSTRAP", ""),
        help="address of a running broker for the tests (else one is started for the session)",
    )
    parser.addoption(
        "--seed", type=int, default=1, help="seed of kills, moments and data in fault tests"
    )


def pytest_configure(config: pytest.Config) -> None:
    for name in list(os.environ):
        if name.startswith("MIDGATE_") and name not in KEPT_VARIABLES:
            del os.environ[name]


def pytest_collection_finish(session: pytest.Session) -> None:
    if not session.config.option.collectonly:
        fetch_jars_for(session.items)


@pytest.fixture(scope="session")
def kafka(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KafkaUnderTest]:
    """The session's broker: the one given, else a fresh one of our own."""
    given = pytestconfig.getoption("--bootstrap")
    if given:
        yield KafkaUnderTest(given)
        return
    broker = LocalKafka(
        tmp_path_factory.mktemp("kafka"),
        extra_properties=TEST_PROPERTIES,
        jvm_heap="768m",
        jvm_options=QUICK_JVM,
    )
    try:
        broker.start()
    except MidgateError as error:
        no_broker(error)
    yield KafkaUnderTest(broker.bootstrap)
    broker.stop()
    drop_data(broker)


@pytest.fixture
def broker_factory(tmp_path: Path) -> Iterator[BrokerFactory]:
    """Start brokers of the test's own, with extra properties; they may be killed and restarted."""
    brokers = OwnBrokers(tmp_path)

    def start(*arguments: dict[str, str], **options: object) -> LocalKafka:
        try:
            return brokers.start(*arguments, **options)  # type: ignore[arg-type]
        except MidgateError as error:
            no_broker(error)

    yield start
    brokers.end()


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int:
    """What a fault test draws everything random from; shown when it fails."""
    given = int(pytestconfig.getoption("--seed"))
    print(f"seed {given}")
    return given


@pytest.fixture
def prefix() -> str:
    """A topic prefix that nobody else uses."""
    return f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture
def kafka_settings(kafka: KafkaUnderTest) -> KafkaSettings:
    """How to reach the session's broker."""
    return KafkaSettings(bootstrap=kafka.bootstrap)


@pytest.fixture
def layout_settings(prefix: str) -> LayoutSettings:
    """An installation of the test's own: four partitions, two lanes."""
    return LayoutSettings(prefix=prefix, app_id=prefix, partitions=4, lanes=2)


@pytest_asyncio.fixture
async def midgate_topics(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings
) -> AsyncIterator[TopicNames]:
    """The installation's topics, made; log id and layout stand in the log."""
    from streams.topics_admin import apply_topics

    await apply_topics(kafka_settings, layout_settings)
    yield layout_settings.topics
