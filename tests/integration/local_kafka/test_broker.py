"""A real broker from its jars: start, find again, kill, restart, stop."""

from pathlib import Path

import pytest
from aiokafka.admin import NewTopic

from deploy.local_kafka.broker import LocalKafka
from deploy.local_kafka.errors import LocalKafkaError
from deploy.local_kafka.properties import answers
from streams import clients
from streams.settings import KafkaSettings
from tests.kafka_support import BrokerFactory, KafkaUnderTest, fetch_jars_or_skip

pytestmark = pytest.mark.broker


async def topics(bootstrap: str) -> list[str]:
    settings = KafkaSettings(bootstrap=bootstrap)
    admin = clients.admin(settings)
    await clients.start(admin, settings)
    try:
        return list(await admin.list_topics())
    finally:
        await admin.close()


async def test_session_broker_answers(kafka: KafkaUnderTest) -> None:
    """The address of the fixture is one where a broker answers."""
    assert isinstance(await topics(kafka.bootstrap), list)


async def test_found_again_killed_restarted_stopped(broker_factory: BrokerFactory) -> None:
    """Another object finds the broker; a kill -9 loses neither data nor port."""
    broker = broker_factory()
    first = broker.running
    settings = KafkaSettings(bootstrap=broker.bootstrap)
    admin = clients.admin(settings)
    await clients.start(admin, settings)
    await admin.create_topics([NewTopic("kept", 1, 1)])
    await admin.close()

    again = LocalKafka(broker.folder)
    assert again.running == first
    assert again.start() == broker.bootstrap
    assert again.running == first

    address = broker.bootstrap
    broker.kill()
    assert again.running is None
    assert broker.start() == address
    assert broker.running != first
    assert "kept" in await topics(address)

    assert again.stop()
    assert broker.running is None
    assert not again.stop()
    with pytest.raises(LocalKafkaError, match="no broker runs"):
        _ = again.bootstrap
    again.purge()
    assert not broker.folder.exists()


def test_forgotten_broker_is_named(broker_factory: BrokerFactory) -> None:
    """Without its pid file a broker still holds the folder: the error says so, and it lives on."""
    broker = broker_factory()
    running = broker.running
    assert running is not None
    pid_file = broker.folder / "kafka.pid"
    text = pid_file.read_text()
    pid_file.unlink()
    try:
        with pytest.raises(LocalKafkaError, match="nobody remembers") as caught:
            LocalKafka(broker.folder).start()
        assert "--dir" in caught.value.hint
        assert answers(running.port)
    finally:
        pid_file.write_text(text)


def test_bad_setting_fails_at_once_with_the_log(tmp_path: Path) -> None:
    """A broker that dies is not waited for; its last words are in the error."""
    fetch_jars_or_skip()
    broker = LocalKafka(tmp_path / "k", extra_properties={"authorizer.class.name": "no.such.Class"})
    with pytest.raises(LocalKafkaError, match=r"no\.such\.Class") as caught:
        broker.start()
    assert "kafka.log" in caught.value.hint
    assert broker.running is None
