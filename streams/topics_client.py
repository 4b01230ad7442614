"""The administrator's view of topics: read, create, configure, with our own errors.

Shell. confluent-kafka's admin client is used because it answers per topic; its calls block, so
callers in an event loop run them in threads.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import (
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs re-export nothing
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from streams.clients import ADDRESS_HINT
from streams.errors import (
    BrokerUnreachableError,
    ConfigurationError,
    MidgateError,
    NotAuthorizedError,
)
from streams.settings import KafkaSettings
from streams.topics import TopicSpec

# What fails comes back as an error of ours; librdkafka's own lines would say it again, often.
rdkafka_log = logging.getLogger("librdkafka")
rdkafka_log.setLevel(logging.CRITICAL)

T = TypeVar("T")

REQUEST_TIMEOUT_S = 15.0
# From a topic's creation until every partition names a leader; a busy single broker took 0.3 s.
LEADER_TIMEOUT_S = 15.0
# One describe or create request carries this many topics at most.
TOPICS_PER_REQUEST = 500
# ConfigSource.DYNAMIC_TOPIC_CONFIG: set on the topic itself.
TOPIC_SOURCE = 1

# What a broker answers while it learns of a new topic or a new leader.
PASSING = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.REQUEST_TIMED_OUT,
}
UNREACHABLE = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._RESOLVE,
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
}
UNAUTHORIZED = {
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
}


@dataclass(frozen=True, slots=True)
class TopicChange:
    """What `topics apply` did, or in a dry run would do, to one thing.

    `action`: `create`, `configure`, `append`, `commit`, `none`, or `warn` for what a person must
    mend.
    """

    name: str
    action: str
    detail: str


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it is; `config` holds every setting in force, `own` the names set on the topic."""

    name: str
    partitions: int
    replication: int
    config: dict[str, str]
    own: frozenset[str]


class TopicsAdmin:
    """The admin client of one command; calls block and raise our own errors."""

    def __init__(self, kafka: KafkaSettings) -> None:
        if not kafka.bootstrap:
            raise ConfigurationError("no broker address is set", hint=ADDRESS_HINT)
        self._bootstrap = kafka.bootstrap
        options: dict[str, Any] = {
            "bootstrap.servers": kafka.bootstrap,
            "security.protocol": kafka.security_protocol,
            "socket.timeout.ms": int(REQUEST_TIMEOUT_S * 1000),
            "client.id": "midgate-admin",
        }
        if kafka.security_protocol.startswith("SASL"):
            options["sasl.mechanisms"] = kafka.sasl_mechanism
            options["sasl.username"] = kafka.sasl_username
            options["sasl.password"] = kafka.sasl_password.get_secret_value()
        self._client = AdminClient(options, logger=rdkafka_log)

    def cluster(self) -> Any:
        """Metadata of the whole cluster: brokers and topics."""
        return self._call("read the cluster's metadata", self._list_topics)

    def _list_topics(self) -> Any:
        return self._client.list_topics(timeout=REQUEST_TIMEOUT_S)

    def states(self, names: Sequence[str] | None = None) -> dict[str, TopicState]:
        """Topics by name, all of the cluster's or those of `names` that exist."""
        topics = self.cluster().topics
        wanted = [name for name in (topics if names is None else names) if name in topics]
        configs: dict[str, dict[str, Any]] = {}
        for start in range(0, len(wanted), TOPICS_PER_REQUEST):
            chunk = wanted[start : start + TOPICS_PER_REQUEST]
            configs |= _patiently(lambda chunk=chunk: self._configs(chunk))  # type: ignore[misc]
        return {name: _state(topics[name], configs[name]) for name in wanted}

    def _configs(self, names: list[str]) -> dict[str, dict[str, Any]]:
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        asked = self._client.describe_configs(resources, request_timeout=REQUEST_TIMEOUT_S)
        return {
            resource.name: self._result(f"read the settings of {resource.name}", future)
            for resource, future in asked.items()
        }

    def broker_config(self, broker: int) -> dict[str, str]:
        """Settings in force on one broker."""
        resource = ConfigResource(ResourceType.BROKER, str(broker))
        asked = self._client.describe_configs([resource], request_timeout=REQUEST_TIMEOUT_S)
        entries = self._result(f"read the settings of broker {broker}", asked[resource])
        return {name: str(entry.value) for name, entry in entries.items()}

    def create(self, specs: Sequence[TopicSpec], replication: int) -> set[str]:
        """Create topics, wait for their leaders; returns the names that were not there."""
        made = set()
        for start in range(0, len(specs), TOPICS_PER_REQUEST):
            new = [
                NewTopic(
                    spec.name,
                    num_partitions=spec.partitions,
                    replication_factor=replication,
                    config=dict(spec.config),
                )
                for spec in specs[start : start + TOPICS_PER_REQUEST]
            ]
            asked = self._client.create_topics(new, request_timeout=REQUEST_TIMEOUT_S)
            for name, future in asked.items():
                try:
                    self._result(f"create {name}", future)
                    made.add(name)
                except _AlreadyExistsError:
                    continue  # somebody else was first; it is compared like any other
        self._wait_for_leaders([spec.name for spec in specs])
        return made

    def configure(self, name: str, settings: dict[str, str]) -> None:
        """Set these settings on a topic; others stay as they are."""
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
            for key, value in settings.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        asked = self._client.incremental_alter_configs(
            [resource], request_timeout=REQUEST_TIMEOUT_S
        )
        self._result(f"configure {name}", next(iter(asked.values())))

    def start_offsets(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """First offset of each partition's log."""
        earliest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
        return self._offsets(topic, partitions, earliest)

    def end_offsets(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """High watermark of each partition."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        return self._offsets(topic, partitions, latest)

    def identity(self, topic: str) -> str:
        """Which topic of which cluster this is: a topic made anew under its name is another.

        Raises ConfigurationError when there is none.
        """
        if topic not in self.cluster().topics:
            raise ConfigurationError(
                f"topic {topic} does not exist", hint="run `midgate topics apply`"
            )
        cluster = self._result(
            "name the cluster", self._client.describe_cluster(request_timeout=REQUEST_TIMEOUT_S)
        )
        described = _patiently(lambda: self._describe(topic))
        return f"{cluster.cluster_id}/{topic}/{described.topic_id}"

    def _describe(self, topic: str) -> Any:
        asked = self._client.describe_topics(
            TopicCollection([topic]), request_timeout=REQUEST_TIMEOUT_S
        )
        return self._result(f"describe {topic}", asked[topic])

    def _offsets(self, topic: str, partitions: Iterable[int], spec: OffsetSpec) -> dict[int, int]:
        asked = {TopicPartition(topic, partition): spec for partition in partitions}
        if not asked:
            return {}
        return _patiently(lambda: self._offsets_once(topic, asked))

    def _offsets_once(self, topic: str, asked: dict[Any, Any]) -> dict[int, int]:
        answer = self._client.list_offsets(asked, request_timeout=REQUEST_TIMEOUT_S)
        return {
            tp.partition: self._result(f"read the offsets of {topic}", future).offset
            for tp, future in answer.items()
        }

    def _wait_for_leaders(self, names: list[str]) -> None:
        deadline = time.monotonic() + LEADER_TIMEOUT_S
        while True:
            topics = self.cluster().topics
            missing = [
                name
                for name in names
                if name not in topics
                or not topics[name].partitions
                or any(part.leader < 0 for part in topics[name].partitions.values())
            ]
            if not missing:
                return
            if time.monotonic() > deadline:
                raise BrokerUnreachableError(
                    f"partitions of {', '.join(missing[:5])} have no leader after"
                    f" {LEADER_TIMEOUT_S:g} s",
                    hint="see whether the brokers are healthy, then run it again",
                )
            time.sleep(0.05)

    def _result(self, what: str, future: "Future[Any]") -> Any:
        return self._call(what, lambda: future.result(timeout=REQUEST_TIMEOUT_S * 2))

    def _call(self, what: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except TimeoutError as error:
            raise self._unreachable(what, "no answer") from error
        except KafkaException as error:
            reason = error.args[0]
            code = reason.code()
            if code == KafkaError.TOPIC_ALREADY_EXISTS:
                raise _AlreadyExistsError(what) from error
            if code in PASSING:
                raise _PassingError(
                    f"the brokers did not {what}: {reason.str()}",
                    hint="see whether the brokers are healthy, then run it again",
                ) from error
            if code in UNREACHABLE:
                raise self._unreachable(what, reason.str()) from error
            if code in UNAUTHORIZED:
                raise NotAuthorizedError(
                    f"the broker does not let this principal {what}: {reason.str()}",
                    hint="run it as a principal with the rights of an administrator",
                ) from error
            raise MidgateError(
                f"the broker did not {what}: {reason.str()}", hint="see the broker's log"
            ) from error

    def _unreachable(self, what: str, why: str) -> BrokerUnreachableError:
        return BrokerUnreachableError(
            f"no broker at {self._bootstrap} answered (to {what}): {why}", hint=ADDRESS_HINT
        )


class _PassingError(BrokerUnreachableError):
    """The same question a moment later may be answered."""


def _patiently(ask: Callable[[], T]) -> T:
    """Ask again, for a while, what only needs a moment."""
    deadline = time.monotonic() + LEADER_TIMEOUT_S
    while True:
        try:
            return ask()
        except _PassingError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class _AlreadyExistsError(Exception):
    """The topic exists; whoever creates topics goes on with what is there."""


def _state(topic: Any, config: dict[str, Any]) -> TopicState:
    parts = topic.partitions.values()
    return TopicState(
        name=topic.topic,
        partitions=len(parts),
        replication=min((len(part.replicas) for part in parts), default=0),
        config={name: str(entry.value) for name, entry in config.items()},
        own=frozenset(n for n, e in config.items() if e.source == TOPIC_SOURCE),
    )
