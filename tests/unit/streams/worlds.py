"""Loads `tests/unit/worlds/*.yaml`: rights and scans, and who must and must not get them.

A world lists `tenants`, `crids`, `agreements`, `grants`, then `scans`. Every scan is decided; each
tenant with a candidate grant must then stand in exactly one of `allowed` ("scan tenant grant") and
`denied` ("scan tenant reason"), both mandatory, and each scan that nobody gets in `withheld`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from schemas.barcode import check_digit
from schemas.codec import encode
from tests.unit.streams.log_building import Log, agreement_body, simple_grant, tenant_body

FOLDER = Path(__file__).parent.parent / "worlds"
DEFAULT_AT_MS = 1_785_000_000_000  # 2026-07-25


@dataclass(frozen=True)
class Scan:
    """A scan of a piece with this MID, decided at `at_ms`."""

    mid: str
    channel: str
    at_ms: int

    def barcode(self) -> str:
        """A number under AI 92 or 93 with the MID."""
        body = (
            f"92748{self.mid}00000000001" if len(self.mid) == 9 else f"93748{self.mid}" + "0" * 14
        )
        return body + str(check_digit(body.encode()))

    def value(self) -> bytes:
        """The raw record's value; it names a recipient."""
        return encode(
            "tracking_event",
            {
                "barcode": self.barcode(),
                "event_code": "01",
                "event_time": self.at_ms,
                "time_basis": "UTC",
                "facility_zip": "90009",
                "channel": self.channel,
                "restricted": {"recipient_name": "J DOE", "firm": None},
            },
        )


@dataclass
class World:
    """A log and its scans, with what must come of each."""

    log: Log
    scans: dict[str, Scan] = field(default_factory=dict)
    allowed: set[tuple[str, str, str]] = field(default_factory=set)
    denied: set[tuple[str, str, str]] = field(default_factory=set)
    withheld: dict[str, str] = field(default_factory=dict)


def _ms(instant: Any, default: int | None = None) -> int | None:
    return default if instant is None else round(instant.timestamp() * 1000)


def load(path: Path) -> World:
    """The world in a file; its log is built from real bytes."""
    told: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    unknown = set(told) - {
        *("about", "tenants", "crids", "agreements", "grants"),
        *("scans", "allowed", "denied", "withheld"),
    }
    assert not unknown, f"{path.name}: {unknown}"
    log = Log()
    _put_tenants(log, told["tenants"])
    for crid, mids in told.get("crids", {}).items():
        _put(log, "CRID", {"crid": crid, "mids": mids})
    _put_agreements(log, told.get("agreements", {}))
    _put_grants(log, told["grants"])
    for tenant_id, tenant in told["tenants"].items():
        if tenant.get("closed"):
            _put(log, "TENANT_END", {"tenant_id": tenant_id})
    scans = {
        name: Scan(scan["mid"], scan["channel"], _ms(scan.get("at"), DEFAULT_AT_MS) or 0)
        for name, scan in told["scans"].items()
    }
    return World(
        log,
        scans,
        {_three(line) for line in told["allowed"]},
        {_three(line) for line in told["denied"]},
        dict(line.split() for line in told.get("withheld", [])),
    )


def _three(line: str) -> tuple[str, str, str]:
    scan, tenant, third = line.split()
    return scan, tenant, third


def _put(log: Log, kind: str, body: dict[str, Any]) -> None:
    applied = log.put(kind, body)
    assert applied.verdict == "accepted", applied


def _put_tenants(log: Log, tenants: dict[str, Any]) -> None:
    for tenant_id, tenant in tenants.items():
        _put(log, "TENANT", tenant_body(tenant_id, tenant["party"]))
        accepted = tenant.get("terms", True)
        if accepted is not None:
            terms = {"tenant_id": tenant_id, "terms_version": "2026-04", "accepted": accepted}
            _put(log, "TERMS", terms)


def _put_agreements(log: Log, agreements: dict[str, Any]) -> None:
    for agreement_id, told in agreements.items():
        body = agreement_body(
            agreement_id,
            told["tenant"],
            mids=told.get("mids", []),
            status=told.get("status", "ACTIVE"),
            effective_from=_ms(told.get("from"), 0),
            effective_to=_ms(told.get("to")),
        )
        _put(log, "AGREEMENT", body)
        if told.get("suspended"):
            _put(log, "AGREEMENT_SUSPEND", {"agreement_id": agreement_id})


def _put_grants(log: Log, grants: dict[str, Any]) -> None:
    for grant_id, told in grants.items():
        body = simple_grant(
            grant_id,
            told["tenant"],
            scope="CRID" if "crid" in told else "MID",
            mid=told.get("mid", ""),
            crid=told.get("crid", ""),
            channels=told["channels"],
            basis=told["basis"],
            agreement_id=told.get("agreement", ""),
            status=told.get("status", "ACTIVE"),
            effective_from=_ms(told.get("from"), 0),
            effective_to=_ms(told.get("to")),
            data_from=_ms(told.get("data_from")),
            data_to=_ms(told.get("data_to")),
        )
        _put(log, "GRANT", body)
        if told.get("ended"):
            _put(log, "GRANT_END", {"grant_id": grant_id})
