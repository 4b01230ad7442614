"""`create_app(settings)`: the one place where the worker's parts are put together.

Faust carries the life cycle, the web pages and the agents. The router and the follower are
services of the app with Kafka clients of their own; they start before Faust's consumer, so that
routing does not wait for the group of the agents, and the pages tell from the first moment what
the worker waits for.
"""

import asyncio
import ssl
import tempfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from itertools import chain
from typing import Any

import faust
from aiohttp.web import TCPSite
from aiokafka import AIOKafkaConsumer
from faust.app.base import BootStrategy
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types._env import WEB_PORT as FAUST_DEFAULT_PORT
from faust.web.drivers.aiohttp import Web
from mode import Service

from streams import routing
from streams.agents import add_quarantine_watch
from streams.clients import ADDRESS_HINT
from streams.errors import ConfigurationError, MidgateError
from streams.health import add_pages
from streams.logs import FRAMEWORK_LOG, configure, get_logger, logging_config
from streams.metering_agent import Metering, add_metering
from streams.metrics import Metrics
from streams.preflight import check_ground
from streams.router import Router
from streams.settings import KafkaSettings, Settings

log = get_logger(__name__)

FAUST_GENERATED_PAGES_OFF = {
    "web_stats_enabled": False,
    "web_graph_enabled": False,
    "web_router_enabled": False,
    "web_tables_enabled": False,
    "web_metrics_enabled": False,
}


def build_version() -> str:
    """Version of the installed package."""
    try:
        return package_version("midgate")
    except PackageNotFoundError:
        return "unknown"


def core_form() -> str:
    """Whether the hot core modules are compiled here, or run as plain Python."""
    return "plain" if str(routing.__file__).endswith(".py") else "compiled"


class CommittedThread(AIOKafkaConsumerThread):
    """Faust reads uncommitted records unless it runs transactions of its own; ours never does.

    Faust pauses, resumes and seeks this thread's consumer from the main thread, which completes
    futures of this thread's loop there. asyncio's own loop stands that (they run at its next tick,
    a second later at most); uvloop's does not: of 60 workers told to stop soon after their start
    two crashed, and others did not stop within 20 s.
    """

    logger = FRAMEWORK_LOG

    def __init__(self, consumer: Consumer, **options: Any) -> None:
        super().__init__(consumer, thread_loop=asyncio.SelectorEventLoop(), **options)
        self._close_thread_loop_on_stop = True  # it is ours alone

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        return consumer


class CommittedConsumer(Consumer):
    """Faust's consumer, reading only what was committed."""

    logger = FRAMEWORK_LOG

    def _new_consumer_thread(self) -> CommittedThread:
        return CommittedThread(self, loop=self.loop, beacon=self.beacon)


class CommittedTransport(Transport):
    """Faust's transport with that consumer."""

    Consumer = CommittedConsumer


class Boot(BootStrategy):
    """Pages first, then the router, then Faust's own consumer and agents."""

    app: "MidgateApp"

    def server(self) -> Iterable[Any]:
        return chain(
            self.sensors(),
            self.web_server(),
            self.app.own_services,
            self.kafka_producer(),
            self.kafka_consumer(),
            self.agents(),
            self.kafka_conductor(),
            self.tables(),
        )


class Pages(Web):
    """Faust's web server, which also takes port 0: any free one."""

    logger = FRAMEWORK_LOG
    app: "MidgateApp"

    def _new_transport_tcp(self) -> TCPSite:
        conf = self.app.conf
        any_port = not self.app.settings.web.web_port and conf.web_port == FAUST_DEFAULT_PORT
        return TCPSite(self._runner, conf.web_bind, 0 if any_port else conf.web_port)

    def address(self) -> str:
        """Where it listens, as the system gave it; empty while it does not."""
        for address in self._runner.addresses:
            if isinstance(address, tuple):
                return f"http://{address[0]}:{address[1]}"
        return ""


class WebAddress(Service):
    """Says where the pages are, which nobody knows beforehand with port 0."""

    logger = FRAMEWORK_LOG

    def __init__(self, app: "MidgateApp", **options: Any) -> None:
        self.app = app
        super().__init__(**options)

    async def on_start(self) -> None:
        if self.app.conf.web_enabled and isinstance(self.app.web, Pages):
            log.info("web_listening", url=self.app.web.address())


class MidgateApp(faust.App):
    """The Faust app of the worker."""

    BootStrategy = Boot
    logger = FRAMEWORK_LOG

    def __init__(self, settings: Settings, metrics: Metrics, **options: Any) -> None:
        self.settings = settings
        self.metrics = metrics
        # Faust insists on a folder for tables, of which there are none; removed with the app.
        self.folder = tempfile.TemporaryDirectory(prefix="midgate-faust-")
        self.router_service = Router(settings, metrics, build_version())
        self.metering_service = Metering(settings, metrics)
        self.own_services = [WebAddress(self), self.router_service, self.metering_service]
        super().__init__(settings.layout.app_id, datadir=self.folder.name, **options)

    def _new_transport(self) -> CommittedTransport:
        return CommittedTransport(self.conf.broker_consumer, self)

    def _new_web(self) -> Pages:
        return Pages(self)

    async def on_first_start(self) -> None:
        """Refuse to start, with a hint, on ground where Faust would wait for ever."""
        configure()
        try:
            await check_ground(self.settings.kafka, self.settings.layout)
        except MidgateError as error:
            log.error("worker_refused", problem=str(error), hint=error.hint)
            raise
        await super().on_first_start()


def create_app(settings: Settings) -> MidgateApp:
    """The app for these settings; connects to nothing yet.

    Raises ConfigurationError when no broker address is set.
    """
    if not settings.kafka.bootstrap:
        raise ConfigurationError("no broker address is set", hint=ADDRESS_HINT)
    metrics = Metrics(build_version(), core_form())
    timeout_s = settings.kafka.request_timeout_ms / 1000
    session_s = min(settings.router.session_timeout_ms / 1000, timeout_s)
    app = MidgateApp(
        settings,
        metrics,
        broker=";".join(f"kafka://{host}" for host in settings.kafka.bootstrap.split(",")),
        broker_credentials=_credentials(settings.kafka),
        broker_request_timeout=timeout_s,
        broker_session_timeout=session_s,
        broker_heartbeat_interval=session_s / 3,
        consumer_auto_offset_reset="earliest",
        store="memory://",
        topic_allow_declare=False,
        topic_disable_leader=True,
        autodiscover=False,
        web_bind=settings.web.web_host,
        web_host=settings.web.web_host,
        web_port=settings.web.web_port or FAUST_DEFAULT_PORT,
        worker_redirect_stdouts=False,
        logging_config=logging_config(settings.web),
        **FAUST_GENERATED_PAGES_OFF,
    )
    add_quarantine_watch(app, settings.layout.topics.quarantine, metrics)
    add_metering(app, settings.layout.topics.metering, app.metering_service)
    add_pages(app, metrics, app.router_service.look)
    return app


def _credentials(kafka: KafkaSettings) -> Any:
    """Faust's form of the same credentials; None means plaintext."""
    context = ssl.create_default_context() if kafka.security_protocol.endswith("SSL") else None
    if kafka.security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password.get_secret_value(),
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None
