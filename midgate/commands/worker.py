"""`midgate worker`: run one worker in the foreground, until SIGTERM or Ctrl-C."""

from typing import Annotated

import typer

from midgate.effective import settings
from streams.errors import MidgateError
from streams.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("worker")(worker)


def worker(
    context: typer.Context,
    web_port: Annotated[
        int | None,
        typer.Option(
            "--web-port",
            min=0,
            max=65_535,
            help="port of /metrics, /live and /ready; 0: any free one, the log says which "
            "(MIDGATE_WEB_PORT, else 6066)",
        ),
    ] = None,
) -> int:
    """Route events until told to stop. Several workers share the lanes.

    The same as `faust -A streams.worker worker`. Logs go to stderr; SIGTERM leaves nothing half
    done.
    """
    chosen = settings(context)
    if web_port is not None:
        web = chosen.web.model_copy(update={"web_port": web_port})
        chosen = chosen.model_copy(update={"web": web})
    return run_worker(chosen)


def run_worker(chosen: Settings) -> int:
    """Run a worker with these settings; exit code 0 when it was told to stop.

    Raises the MidgateError that ended it: missing topics, an empty log, another layout.
    """
    import asyncio
    import faulthandler

    import faust
    import uvloop

    from streams.app import create_app
    from streams.preflight import check_ground

    # Before Faust, whose own way to end on an error is a traceback.
    asyncio.run(check_ground(chosen.kafka, chosen.layout))
    # A crash in native code says where it was, in the log.
    faulthandler.enable()
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.set_event_loop(loop)
    app = create_app(chosen)
    process = faust.Worker(
        app, loop=loop, loglevel=chosen.web.log_level, quiet=True, redirect_stdouts=False
    )
    process.spinner = None
    try:
        process.execute_from_commandline()
    except SystemExit as end:
        reason = app.router_service.crash_reason or process.crash_reason
        if isinstance(reason, MidgateError):
            raise reason from None
        return end.code if isinstance(end.code, int) else 1
