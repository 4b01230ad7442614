"""Settings: small frozen objects, one a concern, read once at the composition root.

Environment prefix `MIDGATE_`. `midgate config` prints the effective values.
"""

import os
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from streams.topics import TopicNames


class KafkaSettings(BaseSettings):
    """How to reach the broker."""

    model_config = SettingsConfigDict(env_prefix="MIDGATE_", frozen=True)

    bootstrap: str = ""
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password: SecretStr = SecretStr("")
    request_timeout_ms: int = Field(10_000, ge=500)


class LayoutSettings(BaseSettings):
    """Names and layout; must be the same for every process of one installation."""

    model_config = SettingsConfigDict(env_prefix="MIDGATE_", frozen=True)

    prefix: str = "midgate"
    app_id: str = "midgate"
    partitions: int = Field(4, ge=1, description="P, used by `topics apply` on a new cluster")
    lanes: int = Field(2, ge=1, description="lanes, used by `topics apply` on a new cluster")

    @property
    def topics(self) -> TopicNames:
        return TopicNames(self.prefix)

    @property
    def router_group(self) -> str:
        return f"{self.app_id}-router"


class AuthorizationSettings(BaseSettings):
    """How the authorization log is followed."""

    model_config = SettingsConfigDict(env_prefix="MIDGATE_", frozen=True)

    authorization_staleness_s_max: float = Field(5.0, gt=0)
    snapshot_dir: Path | None = Field(
        None, description="folder of local snapshots of the rights; empty: none is kept"
    )


class RouterSettings(BaseSettings):
    """Batches and transactions of the router."""

    model_config = SettingsConfigDict(env_prefix="MIDGATE_", frozen=True)

    batch_records_max: int = Field(20_000, ge=1)
    batch_bytes_out_max: int = Field(32 * 1024 * 1024, ge=1024)
    transaction_timeout_ms: int = Field(10_000, ge=1000)
    retry_backoff_ms: int = Field(5, ge=1)
    session_timeout_ms: int = Field(10_000, ge=1000)


class IndexSettings(BaseSettings):
    """The index of raw records, which `midgate index` keeps and `explain` asks."""

    model_config = SettingsConfigDict(env_prefix="MIDGATE_", frozen=True)

    index_dir: Path | None = Field(
        None, description="folder of the index of raw; empty: midgate/index in the user's cache"
    )
    index_hours: int = Field(24, ge=1, le=35 * 24, description="hours of raw in the index")


class StoreSettings(BaseSettings):
    """Local stores, made anew from topics whenever they are missing or do not fit."""

    model_config = SettingsConfigDict(env_prefix="MIDGATE_", frozen=True)

    data_dir: Path | None = Field(
        None, description="folder of local stores (labels, usage); empty: made anew at every start"
    )


class LabelSettings(BaseSettings):
    """Events held until their label comes."""

    model_config = SettingsConfigDict(env_prefix="MIDGATE_", frozen=True)

    hold_s: int = Field(
        3_600, ge=0, le=7 * 86_400, description="how long an event waits for its label; 0: not"
    )
    hold_events_max: int = Field(
        100_000, ge=0, description="events that a lane holds; what is beyond is withheld at once"
    )
    hold_bytes_max: int = Field(
        64 * 1024 * 1024, ge=0, description="bytes of events that a lane holds"
    )


class MeteringSettings(BaseSettings):
    """What units of use cost."""

    model_config = SettingsConfigDict(env_prefix="MIDGATE_", frozen=True)

    rates_file: Path | None = Field(None, description="rates of `usage statement`, TOML")


class WebSettings(BaseSettings):
    """Where the worker's own web endpoints listen."""

    model_config = SettingsConfigDict(env_prefix="MIDGATE_", frozen=True)

    web_host: str = "127.0.0.1"
    web_port: int = Field(6066, ge=0, le=65_535)
    log_format: str = Field("console", pattern="^(console|json)$")
    log_level: str = "INFO"


class Settings(BaseSettings):
    """All concerns together."""

    model_config = SettingsConfigDict(frozen=True)

    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    layout: LayoutSettings = Field(default_factory=LayoutSettings)
    authorization: AuthorizationSettings = Field(default_factory=AuthorizationSettings)
    router: RouterSettings = Field(default_factory=RouterSettings)
    index: IndexSettings = Field(default_factory=IndexSettings)
    stores: StoreSettings = Field(default_factory=StoreSettings)
    labels: LabelSettings = Field(default_factory=LabelSettings)
    metering: MeteringSettings = Field(default_factory=MeteringSettings)
    web: WebSettings = Field(default_factory=WebSettings)


def bootstrap_file(folder: Path | None = None) -> Path:
    """Where `midgate up` leaves the broker's address for the other commands."""
    return (folder or Path(os.getcwd())) / ".midgate" / "bootstrap"
