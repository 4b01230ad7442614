"""The commands that manage and explain rights, as an operator types them, on a real broker."""

from collections.abc import Callable

import pytest
from confluent_kafka import Producer

from midgate.cli import run
from streams.grant_csv import HEADER

pytestmark = pytest.mark.broker

MID = "901234567"
NUMBER = "9205590123456700000017"
Midgate = Callable[..., tuple[int, dict]]


def test_a_grant_is_added_explained_and_revoked(midgate):
    code, answer = midgate(
        *("tenant", "add", "acme", "--party-type", "shipper", "--accept-terms", "2026-04")
    )
    assert code == 0, midgate.errors
    assert answer["change"]["verdict"] == "accepted"
    given = ("--tenant", "acme", "--mid", MID, "--basis", "owner", "--from", "2026-04-01")
    code, answer = midgate("grant", "add", *given, "--id", "g-1")
    assert (code, answer["change"]["grant"]) == (0, "g-1")

    explained = midgate("explain", NUMBER)[1]["explain"]
    assert (explained["outcome"], explained["reason"]) == ("delivered", "allowed")
    before = midgate("explain", NUMBER, "--at", "2026-03-31T23:59:59Z")[1]["explain"]
    assert (before["outcome"], before["reason"]) == ("withheld", "no_grant"), "as rights were then"
    version = str(answer["change"]["offset"])
    before = midgate("explain", NUMBER, "--at", version)[1]["explain"]
    assert (before["outcome"], before["reason"]) == ("withheld", "no_grant")
    after = midgate("explain", NUMBER, "--at", str(answer["change"]["version"]))[1]["explain"]
    assert (after["outcome"], after["reason"]) == ("delivered", "allowed")
    assert midgate("explain", NUMBER, "--channel", "api", "--exit-code")[0] == 7

    assert midgate("grant", "revoke", "g-1", "--yes")[0] == 0
    explained = midgate("explain", NUMBER, "--tenant", "acme")[1]["explain"]
    assert (explained["outcome"], explained["reason"]) == ("withheld", "grant_revoked")
    code, _ = midgate("grant", "add", *given, "--id", "g-1")
    assert code == 7, "a revoked id is terminal"
    assert "void: terminal" in midgate.errors
    assert midgate("grant", "list")[1]["grants"] == []
    assert midgate("grant", "list", "--all")[1]["grants"][0]["status"] == "REVOKED"


def test_an_import_is_all_or_nothing_and_may_be_repeated(midgate, tmp_path):
    for tenant in ("acme", "globex"):
        midgate("tenant", "add", tenant, "--party-type", "shipper")
    row = ",{},MID,{},,api+webhook+see,OWNER,,2026-04-01T00:00:00Z,,contract"
    rows = [",".join(HEADER)]
    rows += [row.format("acme", 901_000_000 + number) for number in range(300)]
    file = tmp_path / "grants.csv"

    file.write_text("\n".join([*rows, row.format("globex", "123"), row.format("nobody", MID)]))
    code, answer = midgate("grant", "import", str(file))
    assert code == 2
    found = [(error["line"], error["column"]) for error in answer["errors"]]
    assert found == [(302, "mid"), (303, "tenant")], "one list of all that is wrong"
    file.write_text("\n".join([*rows, row.format("nobody", MID)]))
    code, answer = midgate("grant", "import", str(file))
    assert [(error["line"], error["column"]) for error in answer["errors"]] == [(302, "tenant")]
    assert midgate("grant", "list")[1]["total"] == 0, "nothing of a refused file counts"

    file.write_text("\n".join(rows))
    assert midgate("grant", "import", str(file), "--dry-run")[1]["import"]["new"] == 300
    assert midgate("grant", "list")[1]["total"] == 0
    assert midgate("grant", "import", str(file))[1]["import"]["new"] == 300
    again = midgate("grant", "import", str(file))[1]["import"]
    assert (again["new"], again["unchanged"]) == (0, 300)
    assert midgate("grant", "list", "--tenant", "acme")[1]["total"] == 300


def test_agreements_and_crids_decide_what_their_grants_give(midgate):
    midgate("tenant", "add", "eyes", "--party-type", "tracking-analytics-vendor")
    code, _ = midgate(
        *("agreement", "add", "A-1", "--tenant", "eyes", "--from", "2026-04-01", "--mid", MID)
    )
    assert code == 0, midgate.errors
    assert midgate("crid", "set", "77", "--mid", MID, "--mid", "123456")[0] == 0
    given = ("--crid", "77", "--basis", "ip-agreement", "--agreement", "A-1")
    assert midgate("grant", "add", "--tenant", "eyes", *given, "--from", "2026-04-01")[0] == 0

    def reason() -> str:
        return midgate("explain", NUMBER, "--tenant", "eyes")[1]["explain"]["reason"]

    assert reason() == "allowed"
    midgate("agreement", "suspend", "A-1", "--yes")
    assert reason() == "agreement_suspended"
    midgate("agreement", "resume", "A-1")
    assert reason() == "allowed"
    midgate("crid", "set", "77", "--mid", "123456")
    assert reason() == "no_grant"
    assert midgate("crid", "show", "77")[1]["crid"]["mids"] == ["123456"]


def test_what_ends_rights_asks_and_can_be_tried_dry(midgate):
    midgate("tenant", "add", "acme", "--party-type", "shipper")
    assert midgate("tenant", "remove", "acme")[0] == 2, "nobody there to ask"
    assert midgate("tenant", "remove", "acme", "--dry-run")[0] == 0
    assert midgate("tenant", "show", "acme")[1]["tenant"]["state"] == "open"
    assert midgate("tenant", "remove", "acme", "--yes")[0] == 0
    assert midgate("tenant", "list")[1]["tenants"][0]["state"] == "closed"
    assert midgate("tenant", "add", "acme", "--party-type", "shipper")[0] == 7
    assert "terminal" in midgate.errors


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("tenant", "add", "Acme", "--party-type", "shipper"), 2),
        (("tenant", "add", "acme", "--party-type", "friend"), 2),
        (("tenant", "show", "nobody"), 2),
        (("grant", "add", "--tenant", "nobody", "--mid", MID, "--basis", "owner"), 2),
        (("grant", "show", "nothing"), 2),
        (("crid", "set", "77", "--mid", "12"), 2),
        (("agreement", "suspend", "nothing", "--yes"), 2),
        (("tail", "--tenant", "nobody"), 2),
        (("quarantine", "show", "0:0"), 2),
        (("quarantine", "show", "x"), 2),
        (("explain", "0:0"), 2),
    ],
)
def test_a_mistake_is_an_error_with_a_hint(midgate, arguments, code):
    assert midgate(*arguments)[0] == code
    assert "error:" in midgate.errors
    assert "hint:" in midgate.errors


def test_a_right_can_be_ended_while_the_log_is_held_up(midgate, kafka, prefix):
    """Somebody's open transaction on the log hides what follows it from every follower; the
    revocation must stand behind it all the same, and count as soon as the log goes on."""
    midgate("tenant", "add", "acme", "--party-type", "shipper", "--accept-terms", "2026-04")
    given = ("--tenant", "acme", "--mid", MID, "--basis", "owner", "--from", "2026-04-01")
    assert midgate("grant", "add", *given, "--id", "g-1")[0] == 0
    holder = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": prefix})
    holder.init_transactions(20)
    holder.begin_transaction()
    holder.produce(f"{prefix}.authorization", b"foreign", key=b"foreign")
    holder.flush(20)
    code, _ = midgate("grant", "revoke", "g-1", "--yes")
    assert code == 1
    assert "held up" in midgate.errors
    assert "was appended, its verdict is not known" in midgate.errors
    holder.abort_transaction(20)
    explained = midgate("explain", NUMBER)[1]["explain"]
    assert (explained["outcome"], explained["reason"]) == ("withheld", "grant_revoked")


def test_an_empty_cluster_says_what_to_run(kafka, prefix, capsys):
    place = ["--bootstrap", kafka.bootstrap, "--prefix", prefix]
    assert run([*place, "tenant", "list"]) != 0
    assert "topics apply" in capsys.readouterr().err
