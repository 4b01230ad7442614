"""The client under a transactional producer: it names what was refused, and it can be shut.

aiokafka repeats a request for ever after a lost connection, a time-out or an unknown topic, and
an authorization error reaches its caller without the topic. Every answer passes here, so this is
the one place where the topic can be named, and the one gate that nothing gets past once shut.
"""

import random
from collections.abc import Callable
from typing import Any

from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from streams.transaction_failures import refusal


class TransactionClient(AIOKafkaClient):  # type: ignore[misc]
    """aiokafka's client with a gate.

    While `watching` is set, the first lost connection, time-out or refusing answer is handed to
    `on_failure` and nothing is repeated. After `shut` no request leaves and no connection opens.
    """

    def __init__(self, *, on_failure: Callable[[BaseException], object], **options: Any) -> None:
        super().__init__(**options)
        self._on_failure = on_failure
        self._is_shut = False
        self.watching = False

    def shut(self) -> None:
        """Close every connection at once, dropping what is still unsent, and open none again."""
        self._is_shut = True
        self.watching = False
        for connection in self._conns.values():
            writer = connection._writer
            if writer is not None:
                # A plain close would first flush the buffer: requests that were given up.
                writer.transport.abort()
            connection.close()

    async def send(
        self, node_id: int, request: Any, *, group: ConnectionGroup = ConnectionGroup.DEFAULT
    ) -> Any:
        if self._is_shut:
            raise KafkaConnectionError("this producer was given up; nothing is sent any more")
        try:
            response = await super().send(node_id, request, group=group)
        except (KafkaError, OSError) as error:
            if self.watching:
                self._on_failure(error)
            raise
        if self.watching and (failure := refusal(request, response)) is not None:
            self._on_failure(failure)
            raise failure
        return response

    async def _get_conn(
        self, node_id: int, *, group: ConnectionGroup = ConnectionGroup.DEFAULT, **options: Any
    ) -> AIOKafkaConnection | None:
        if self._is_shut:
            return None
        connection = await super()._get_conn(node_id, group=group, **options)
        if self._is_shut and connection is not None:
            # Shut while this one was being opened.
            connection.close()
            return None
        return connection

    async def _metadata_update(self, cluster_metadata: Any, topics: Any) -> bool:
        # aiokafka asks with `allow_auto_topic_creation`, so that a removed topic comes back on a
        # broker that creates topics by itself; and it asks for all topics when it has none.
        request = MetadataRequest(list(topics), allow_auto_topic_creation=False)
        nodes = [broker.nodeId for broker in self.cluster.brokers()]
        random.shuffle(nodes)
        for node_id in nodes:
            connection = await self._get_conn(node_id)
            if connection is None:
                continue
            try:
                metadata = await connection.send(request)
            except (KafkaError, TimeoutError):
                continue
            cluster_metadata.update_metadata(metadata)
            return bool(metadata.brokers)
        cluster_metadata.failed_update(None)
        return False
