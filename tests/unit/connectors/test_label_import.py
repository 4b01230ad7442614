"""What a file would make of the histories: across its own rows, and of what is registered."""

from collections.abc import Iterator

import pytest

from connectors.labels.label_import import LabelImport
from connectors.labels.limits import LabelLimits
from connectors.labels.registry import Registered
from streams.label_csv import HEADER
from streams.label_history import Label, merged

PIC, OTHER = "9400111206206406260787", "9505511069605048600624"
KNOWN = Label("known", "901234567", "acme", "", 0, 0, 86_400_000, None, "")


class Registry:
    """What is registered, in memory."""

    def __init__(self) -> None:
        self.labels: dict[str, list[Label]] = {PIC: [KNOWN]}
        self.batches: list[int] = []

    def histories(self, pics):
        return {pic: self.labels.get(pic, []) for pic in pics}

    async def register(self, added):
        self.batches.append(len(added))
        new = 0
        for pic, labels in added.items():
            history = merged(self.labels.get(pic, []), labels)
            new += len(history) - len(self.labels.get(pic, []))
            self.labels[pic] = history
        return Registered(new, 0)


@pytest.fixture(params=[1, 2, 100])
def work(request) -> Iterator[LabelImport]:
    limits = LabelLimits(rows_at_once=request.param, pics_a_transaction=1, errors_max=3)
    made = LabelImport(Registry(), limits)
    yield made
    made.close()


def lines(*rows: str) -> list[str]:
    return [",".join(HEADER), *rows]


def row(pic: str, label_id: str, mid: str = "901234567") -> str:
    return f"{pic},{label_id},{mid},acme,,1970-01-01,1970-01-01,1970-01-02,,"


async def test_rows_of_a_number_add_up_wherever_they_stand(work):
    file = lines(row(PIC, "a"), row(OTHER, "b"), row(PIC, "c"), row(PIC, "a"), row(PIC, "known"))
    checked = await work.check(file, on_progress=lambda done, total: None)
    assert (checked.rows, checked.new, checked.errors) == (5, 3, [])
    registry = work._registry
    assert registry.batches == [], "nothing is written before all is checked"
    assert await work.write(on_progress=lambda done, total: None) == 3
    assert [one.label_id for one in registry.labels[PIC]] == ["known", "a", "c"]
    assert registry.batches == [1, 1]


async def test_a_conflict_with_another_row_or_with_what_is_registered_is_named(work):
    file = lines(
        row(PIC, "a"), row(PIC, "known", "123456"), row(OTHER, "a"), row(PIC, "a", "123456")
    )
    checked = await work.check(file, on_progress=lambda done, total: None)
    assert [(one.line, one.column, one.value) for one in checked.errors] == [
        (3, "label_id", "known"),
        (5, "label_id", "a"),
    ]
    assert "mid" in checked.errors[0].expected


async def test_a_file_of_the_wrong_kind_is_not_read_to_its_end(work):
    checked = await work.check(lines(*["x"] * 500), on_progress=lambda done, total: None)
    assert len(checked.errors) == 3
