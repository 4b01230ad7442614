"""Random logs over few ids, so that changes meet: mostly sensible, sometimes void, ended, repeated.

`steps` draws what to do; `take` does it to a `Log`, whose bases are the ones in force unless the
step says otherwise. Instants are small numbers, so that boundaries are hit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from streams.changes import Body
from streams.decision import decide
from streams.rights import Applied, RightsSnapshot
from tests.unit.streams.log_building import Log, agreement_body, simple_grant, tenant_body

MIDS = ("901234567", "901234568", "123456")
TENANTS = ("acme", "shop", "vendor")
PARTIES = ("SHIPPER", "PLATFORM", "AUDITOR")
CHANNELS = ("API", "WEBHOOK", "SEE")
NOWS = range(-1, 8)
IMPORTS = (bytes(16), bytes(range(16)))

INSTANTS = st.sampled_from([0, 0, 0, 1, 2, 3])
ENDS = st.sampled_from([None, None, 3, 4, 6])
SOME_CHANNELS = st.lists(st.sampled_from(CHANNELS), unique=True, min_size=1)
MID_SETS = st.lists(st.sampled_from(MIDS), unique=True, max_size=3)


@dataclass(frozen=True)
class Step:
    """A change to append; `base` None: the one in force."""

    kind: str
    body: Body
    base: int | None = None
    import_id: bytes | None = None
    again: bool = False
    late_ms: int = 0


def _tenants() -> st.SearchStrategy[Body]:
    return st.builds(
        lambda tenant, party: tenant_body(tenant, party),
        st.sampled_from(TENANTS),
        st.sampled_from(PARTIES),
    )


def _agreements() -> st.SearchStrategy[Body]:
    return st.builds(
        lambda agreement_id, tenant, **fields: agreement_body(agreement_id, tenant, **fields),
        st.sampled_from(["A1", "A2"]),
        st.sampled_from(["vendor"] * 9 + ["acme"]),
        mids=MID_SETS,
        status=st.sampled_from(["PENDING", "ACTIVE", "ACTIVE"]),
        effective_from=INSTANTS,
        effective_to=ENDS,
    )


@st.composite
def grants(draw: st.DrawFn) -> Body:
    """A grant whose tenant, basis and scope mostly fit its id, so that later ones are accepted."""
    number = draw(st.integers(0, 5))
    tenant = TENANTS[number % 3]
    basis = ("OWNER", "MID_AUTHORIZATION", "IP_AGREEMENT")[number % 3]
    by_crid = number >= 3
    return simple_grant(
        f"g{number}",
        draw(st.sampled_from([tenant] * 9 + ["acme"])),
        basis=basis,
        agreement_id=draw(st.sampled_from(["A1", "A2"])) if basis == "IP_AGREEMENT" else "",
        scope="CRID" if by_crid else "MID",
        crid="C1" if by_crid else "",
        mid="" if by_crid else MIDS[number % 3],
        channels=draw(st.just(list(CHANNELS)) | SOME_CHANNELS),
        status=draw(st.sampled_from(["PENDING", "ACTIVE", "ACTIVE", "ACTIVE"])),
        effective_from=draw(INSTANTS),
        effective_to=draw(ENDS),
        data_from=draw(st.sampled_from([None] * 7 + [1])),
    )


BODIES: dict[str, st.SearchStrategy[Body]] = {
    "TENANT": _tenants(),
    "TENANT_END": st.builds(lambda t: {"tenant_id": t}, st.sampled_from(TENANTS)),
    "TERMS": st.builds(
        lambda t, accepted: {"tenant_id": t, "terms_version": "1", "accepted": accepted},
        st.sampled_from(TENANTS),
        st.booleans(),
    ),
    "CRID": st.builds(lambda mids: {"crid": "C1", "mids": mids}, MID_SETS),
    "AGREEMENT": _agreements(),
    "AGREEMENT_SUSPEND": st.builds(lambda a: {"agreement_id": a}, st.sampled_from(["A1", "A2"])),
    "AGREEMENT_RESUME": st.builds(lambda a: {"agreement_id": a}, st.sampled_from(["A1", "A2"])),
    "GRANT": grants(),
    "GRANT_END": st.builds(lambda n: {"grant_id": f"g{n}"}, st.integers(0, 5)),
    "IMPORT_CLOSE": st.just({}),
}
# Grants often, ends of tenants seldom: or every log would soon be empty of rights.
KINDS = (
    *["GRANT"] * 6,
    *["CRID", "AGREEMENT", "TERMS", "AGREEMENT_RESUME"] * 2,
    *["IMPORT_CLOSE"] * 3,
    *["TENANT", "AGREEMENT_SUSPEND", "GRANT_END", "TENANT_END"],
)


@st.composite
def _step(draw: st.DrawFn) -> Step:
    kind = draw(st.sampled_from(KINDS))
    imported = kind == "IMPORT_CLOSE" or (
        kind == "GRANT" and draw(st.sampled_from([False, False, True]))
    )
    return Step(
        kind,
        draw(BODIES[kind]),
        base=draw(st.sampled_from([None] * 9 + [-1])),
        import_id=draw(st.sampled_from([*IMPORTS[:1] * 5, IMPORTS[1]])) if imported else None,
        again=draw(st.sampled_from([False] * 9 + [True])),
        late_ms=draw(st.sampled_from([0] * 19 + [600_001])),
    )


STEPS = st.lists(_step(), min_size=4, max_size=25)


class DrawnLog(Log):
    """A log in which three tenants, a CRID and two agreements are in force from the start."""

    def __init__(self) -> None:
        super().__init__()
        self._staged: dict[bytes, list[bytes]] = {}
        for tenant, party in zip(TENANTS, PARTIES, strict=True):
            self.tenant(tenant, party)
        self.put("CRID", {"crid": "C1", "mids": list(MIDS[:2])})
        for agreement_id in ("A1", "A2"):
            self.put("AGREEMENT", agreement_body(agreement_id, "vendor"))

    def take(self, step: Step) -> Applied:
        """Append what the step says."""
        self.now_ms += step.late_ms
        if step.kind == "IMPORT_CLOSE":
            assert step.import_id is not None
            return self.close(step.import_id, self._staged.pop(step.import_id, []))
        envelope: dict[str, Any] = {"restricting": False, "import_id": step.import_id}
        if step.base is not None:
            envelope["base"] = step.base
        change_id = self.change_id()
        value = self.change(step.kind, step.body, change_id=change_id, **envelope)
        applied = self.append(value)
        if applied.verdict == "staged":
            self._staged.setdefault(step.import_id or b"", []).append(change_id)
        return self.append(value) if step.again else applied


Outcome = tuple[str, tuple[tuple[str, str], ...]]


def decisions(
    rights: RightsSnapshot, nows: Iterable[int] = NOWS
) -> dict[tuple[str, int, int], Outcome]:
    """What every MID, channel and instant gets, decided afresh on a snapshot."""
    found = {}
    for mid in MIDS:
        candidates = rights.candidates(mid)
        for channel in range(4):
            for now in nows:
                decision = decide(mid, channel, now, candidates, rights)
                tenants = tuple(
                    sorted(
                        (one.tenant_id, f"{one.reason}:{one.grant_id}") for one in decision.tenants
                    )
                )
                found[mid, channel, now] = (decision.reason.value, tenants)
    return found
