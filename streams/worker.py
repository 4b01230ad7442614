"""The module that `faust -A streams.worker worker` loads: the app, made from the environment.

Importing it builds the app and chooses uvloop for the process, so nothing else imports it.
"""

import asyncio
import faulthandler

import uvloop

from streams.app import create_app
from streams.settings import Settings, bootstrap_file


def settings_from_environment() -> Settings:
    """`MIDGATE_…`, and the address that `midgate up` left behind where none is given."""
    settings = Settings()
    left = bootstrap_file()
    if not settings.kafka.bootstrap and left.is_file():
        kafka = settings.kafka.model_copy(update={"bootstrap": left.read_text().strip()})
        settings = settings.model_copy(update={"kafka": kafka})
    return settings


# A crash in native code says where it was, in the log.
faulthandler.enable()
asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
app = create_app(settings_from_environment())
