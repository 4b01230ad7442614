"""A small TCP proxy for faults between a client and a Kafka broker.

It changes no byte. It reads the length and the API key of every request, so that a fault can be
aimed at one kind of request (Produce is 0, EndTxn 26, the numbers are Kafka's own).

A Kafka client connects to the *advertised* address, not to the one it was given. So give the
broker a second listener that is advertised at the proxy's port, and only then start it:

    async with await TcpProxy.start() as proxy:
        broker = broker_factory(proxy.listener())
        client = AIOKafkaConsumer(bootstrap_servers=proxy.address)
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Self

HOST = "127.0.0.1"
CHUNK_BYTES = 256 * 1024

PRODUCE, FETCH, LIST_OFFSETS, METADATA = 0, 1, 2, 3
INIT_PRODUCER_ID, ADD_PARTITIONS_TO_TXN, END_TXN, TXN_OFFSET_COMMIT = 22, 24, 26, 28


class Fault(Enum):
    """What happens to one request."""

    PASS = "pass"  # goes on to the broker
    SWALLOW = "swallow"  # neither it nor anything later on this connection reaches the broker
    CUT = "cut"  # the connection is closed before the broker has seen it
    CUT_ANSWER = "cut answer"  # the broker gets it; the connection is closed instead of answering


Rule = Callable[[int, bytes], Fault | Awaitable[Fault]]
"""(API key, whole frame without its length) -> fault. An awaitable delays the request until it is
done, and everything behind it on the same connection."""


def aimed_at(api_key: int, fault: Fault) -> Rule:
    """A rule for every request of one kind."""
    return lambda key, frame: fault if key == api_key else Fault.PASS


class TcpProxy:
    """Listens at `address`, forwards to `upstream`. Faults hold until `heal()`.

    `refuse`  new connections are closed at once, the present ones are closed;
    `stall`   half-open: connections stand, nothing passes in either direction;
    `delay_s` every chunk waits that long, in both directions;
    `rule`    a fault for single requests.
    """

    def __init__(self) -> None:
        self.upstream: tuple[str, int] | None = None
        self.delay_s = 0.0
        self.rule: Rule | None = None
        self.requests: dict[int, int] = {}
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._refusing = False
        self._flowing = asyncio.Event()
        self._flowing.set()

    @classmethod
    async def start(cls, upstream: tuple[str, int] | None = None) -> Self:
        """Listen on a port the operating system gives."""
        proxy = cls()
        proxy.upstream = upstream
        proxy._server = await asyncio.start_server(proxy._accept, HOST, 0)
        proxy.port = proxy._server.sockets[0].getsockname()[1]
        return proxy

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def connections(self) -> int:
        return len(self._tasks)

    def listener(self) -> dict[str, str]:
        """Properties of a broker that has a second listener behind this proxy.

        Whoever begins at `address` stays behind the proxy, whoever begins at the broker's own
        address does not: a broker advertises to each the listener it came by.
        """
        with socket.socket() as free:
            free.bind((HOST, 0))
            own_port: int = free.getsockname()[1]
        self.upstream = (HOST, own_port)
        return {
            "listeners": f"PLAINTEXT://{HOST}:{{port}},PROXIED://{HOST}:{own_port},"
            f"CONTROLLER://{HOST}:{{controller_port}}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{{port}},PROXIED://{self.address}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,"
            "PROXIED:PLAINTEXT",
        }

    def cut(self) -> None:
        """Close every present connection, at once; new ones are served."""
        for writer in list(self._writers):
            writer.transport.abort()

    def refuse(self) -> None:
        """Close every connection, and every new one as soon as it is accepted."""
        self._refusing = True
        self.cut()

    def stall(self) -> None:
        """Half-open: nobody is told anything, nothing passes."""
        self._flowing.clear()

    def heal(self) -> None:
        """End every fault; connections that lost a request are closed."""
        self._refusing = False
        self.delay_s = 0.0
        self.rule = None
        self._flowing.set()

    async def send_copy(self, frame: bytes, timeout_s: float = 5.0) -> bytes:
        """Send a request, as a rule saw it, once more on a connection of its own.

        Returns the whole answer without its length: a late copy of a request that some network
        kept back.
        """
        assert self.upstream is not None
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(*self.upstream)
            try:
                writer.write(struct.pack(">i", len(frame)) + frame)
                await writer.drain()
                (length,) = struct.unpack(">i", await reader.readexactly(4))
                return await reader.readexactly(length)
            finally:
                writer.close()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._flowing.set()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing or self.upstream is None:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self.upstream is not None
        self._writers.add(writer)
        upstream_writer: asyncio.StreamWriter | None = None
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            try:
                await self._flowing.wait()
                upstream, upstream_writer = await asyncio.open_connection(*self.upstream)
                self._writers.add(upstream_writer)
                answers_cut = asyncio.Event()
                pumps = {
                    asyncio.create_task(self._requests(reader, upstream_writer, answers_cut)),
                    asyncio.create_task(self._answers(upstream, writer, answers_cut)),
                }
                try:
                    done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                    for pump in done:
                        pump.result()
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)
            finally:
                for side in (writer, upstream_writer):
                    if side is not None:
                        side.transport.abort()
                        self._writers.discard(side)

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        upstream: asyncio.StreamWriter,
        answers_cut: asyncio.Event,
    ) -> None:
        """Client to broker, one request after the other; returns to close the connection."""
        while True:
            (length,) = struct.unpack(">i", await reader.readexactly(4))
            frame = await reader.readexactly(length)
            (api_key,) = struct.unpack(">h", frame[:2])
            self.requests[api_key] = self.requests.get(api_key, 0) + 1
            match await self._judge(api_key, frame):
                case Fault.CUT:
                    return
                case Fault.SWALLOW:
                    while await reader.read(CHUNK_BYTES):
                        pass
                    return
                case Fault.CUT_ANSWER:
                    answers_cut.set()
            await self._pass()
            upstream.write(struct.pack(">i", length) + frame)
            await upstream.drain()

    async def _judge(self, api_key: int, frame: bytes) -> Fault:
        if self.rule is None:
            return Fault.PASS
        fault = self.rule(api_key, frame)
        return fault if isinstance(fault, Fault) else await fault

    async def _answers(
        self,
        upstream: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answers_cut: asyncio.Event,
    ) -> None:
        """Broker to client. The broker answers in order, so the next answer after a cut request
        may be an earlier one's: losing that too is part of losing the connection."""
        while chunk := await upstream.read(CHUNK_BYTES):
            await self._pass()
            if answers_cut.is_set():
                return
            writer.write(chunk)
            await writer.drain()

    async def _pass(self) -> None:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        await self._flowing.wait()
