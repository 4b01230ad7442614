"""Held events with a guard switched off: the tests of test_label_routing.py would see it."""

from dataclasses import replace

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from streams.label_desk import LabelDesk
from streams.routing import UNBOUNDED, RoutedBatch
from tests.unit.schemas.records import bounded
from tests.unit.streams.test_label_routing import NOW, PIC, Lane, RandomLane, a_label, ids, raw


class CountsBeforeTheCommit(Lane):
    """A lane that changes its memory with the batch, and goes on with it after a failure."""

    def batch(self, records, now_ms=NOW, bytes_out_max=UNBOUNDED, commits=True) -> RoutedBatch:
        routed = super().batch(records, now_ms, bytes_out_max, commits)
        if not commits:
            self.held.committed(routed.holds)
        return routed

    def start_again(self) -> None:
        """The guard is off."""


class LetsOthersOvertake(Lane):
    """A lane that decides events of raw although held ones are left that are due."""

    def desk(self, now_ms: int) -> LabelDesk:
        return replace(super().desk(now_ms), is_last=True)


class ComparesNothingAtTheStart(Lane):
    """A lane that takes its holds back without looking for labels that came meanwhile."""

    def start_again(self) -> None:
        labels, self.labels = self.labels, {}
        super().start_again()
        self.labels = labels


def test_without_the_guard_later_events_overtake():
    few = LetsOthersOvertake(ended_max=2)
    few.batch([raw(n) for n in range(3)])
    few.register(PIC, a_label("l1"))
    assert ids(few.batch([raw(3)])) + ids(few.batch([])) == ["0-0", "0-1", "0-3", "0-2"]


@pytest.mark.parametrize("lane", [CountsBeforeTheCommit, ComparesNothingAtTheStart])
def test_without_the_guard_the_same_machine_finds_a_fault(lane):
    class Unguarded(RandomLane):
        lane_class = lane

    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            Unguarded, settings=settings(bounded(1000), phases=[Phase.generate], database=None)
        )
