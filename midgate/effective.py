"""Effective settings of a command: options, then environment, then `./.midgate/bootstrap`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from streams.errors import ConfigurationError

if TYPE_CHECKING:
    from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    """What was said before (or after) the command; None where nothing was said."""

    bootstrap: str | None = None
    prefix: str | None = None
    app_id: str | None = None


def settings(context: typer.Context) -> Settings:
    """The settings this command works with.

    Raises ConfigurationError that names the variable when one cannot be read. A missing broker
    address is an error only for who connects.
    """
    from pydantic import ValidationError

    from streams.settings import KafkaSettings, LayoutSettings, Settings

    options = options_of(context)
    layout = {
        key: value
        for key, value in (("prefix", options.prefix), ("app_id", options.app_id))
        if value is not None
    }
    try:
        bootstrap = bootstrap_and_origin(options)[0]
        return Settings(
            kafka=KafkaSettings(bootstrap=bootstrap),
            layout=LayoutSettings(**layout),  # type: ignore[arg-type]  # read by name, checked
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(
            f"the setting {field} cannot be read: {first['msg']} (it is {first['input']!r})",
            hint=f"mend MIDGATE_{field.upper()}",
        ) from error


def options_of(context: typer.Context) -> GlobalOptions:
    """The global options of the command line this command stands in."""
    found = context.find_root().obj
    return found if isinstance(found, GlobalOptions) else GlobalOptions()


def bootstrap_and_origin(options: GlobalOptions) -> tuple[str, str]:
    """The broker's address, and where it comes from."""
    from streams.settings import bootstrap_file

    if options.bootstrap is not None:
        return options.bootstrap, "--bootstrap"
    if os.environ.get("MIDGATE_BOOTSTRAP"):
        return os.environ["MIDGATE_BOOTSTRAP"], "MIDGATE_BOOTSTRAP"
    path = bootstrap_file()
    try:
        return path.read_text().strip(), str(path)
    except FileNotFoundError:
        return "", "default"
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}", hint="mend its permissions or remove it"
        ) from error


def is_local(options: GlobalOptions) -> bool:
    """True when the address is the one that `midgate up` left here."""
    from streams.settings import bootstrap_file

    return bootstrap_and_origin(options)[1] == str(bootstrap_file())


def origin(name: str, options: GlobalOptions) -> str:
    """Where the value of a setting comes from; `name` is the setting's field."""
    if name == "bootstrap":
        return bootstrap_and_origin(options)[1]
    if getattr(options, name, None) is not None:
        return f"--{name.replace('_', '-')}"
    variable = f"MIDGATE_{name.upper()}"
    return variable if variable in os.environ else "default"
