"""Structured logs: one line for each consequential thing, never one for each event.

Our own lines and those of the libraries take the same way out (stderr), as text for people or as
JSON, one object a line.
"""

import logging
from typing import Any

import structlog

from streams.settings import WebSettings

# For the services of the framework: "Starting…", "Stopping…" of each is no consequential thing.
FRAMEWORK_LOG = logging.getLogger("mode.midgate")

# Said at every rebalance or fetch; what matters of it the router says itself.
QUIET = {
    "aiokafka.consumer": "ERROR",
    "aiokafka.producer": "CRITICAL",
    "aiokafka.conn": "ERROR",
    "aiokafka.cluster": "ERROR",
    "aiokafka": "WARNING",
    "faust": "WARNING",
    "mode": "WARNING",
    "aiohttp": "WARNING",
    "asyncio": "ERROR",
}

# At DEBUG, these print the bytes of every request.
EVERY_REQUEST = ("aiokafka", "asyncio")

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


def logging_config(web: WebSettings) -> dict[str, Any]:
    """A `logging.config.dictConfig` for the worker; Faust applies it when it starts."""
    last: list[Any]
    if web.log_format == "json":
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        plain = structlog.dev.plain_traceback  # the others print locals, and so secrets
        last = [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=plain)]
    quiet = {name: {"level": level} for name, level in QUIET.items()}
    if web.log_level.upper() == "DEBUG":
        quiet = {name: {"level": "INFO"} for name in EVERY_REQUEST}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "midgate": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _SHARED,
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
            }
        },
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "midgate",
            }
        },
        "root": {"level": web.log_level.upper(), "handlers": ["stderr"]},
        "loggers": quiet,
    }


def configure() -> None:
    """Send structlog's lines through the standard library's handlers; safe to call again.

    Loggers are not cached: lines are rare, and a cached one would keep what it was first told.
    """
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose events are words and whose details are fields."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger
