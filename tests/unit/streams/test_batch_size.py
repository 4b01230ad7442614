"""How many records the next batch takes: bounded by the setting, by failures, by bytes out."""

from streams.batch_size import HEADROOM, PROOFS_MAX, URGENT_RECORDS_MAX, BatchSize


def size_of(records_max: int = 20_000, bytes_out_max: int = 32_000_000) -> BatchSize:
    return BatchSize(records_max=records_max, bytes_out_max=bytes_out_max)


def test_it_is_halved_after_each_failure_and_doubled_by_full_batches() -> None:
    size = size_of()
    size.failed()
    size.failed()
    assert size.records() == 5_000
    size.committed(5_000, 0)
    assert size.records() == 10_000
    size.committed(10_000, 0)
    assert size.records() == 20_000


def test_a_small_batch_proves_nothing() -> None:
    size = size_of()
    size.failed()
    size.committed(size.records(urgent=True), 0)
    assert size.records() == 10_000


def test_it_settles_on_what_the_broker_takes() -> None:
    """A broker that refuses more than 10,000, and a restricting change before every batch."""
    size = size_of()
    failures = []
    for turn in range(1_000):
        urgent = size.records(urgent=True)
        size.committed(urgent, 0)
        if size.records() > 10_000:
            failures.append(turn)
            size.failed()
        else:
            assert size.records() == 10_000
            size.committed(10_000, 0)
    late = [turn for turn in failures if turn >= 500]
    assert failures[0] == 0
    assert len(late) <= 500 // PROOFS_MAX + 1


def test_a_broker_that_takes_all_again_gets_all_again() -> None:
    size = size_of()
    for _ in range(40):
        if size.records() > 10_000:
            size.failed()
        else:
            size.committed(size.records(), 0)
    for _ in range(PROOFS_MAX + 1):
        size.committed(size.records(), 0)
    assert size.records() == 20_000
    size.failed()
    size.committed(10_000, 0)
    assert size.records() == 20_000


def test_it_never_reaches_zero() -> None:
    size = size_of()
    for _ in range(100):
        size.failed()
    assert size.records() == 1
    while size.records() < 20_000:
        before = size.records()
        size.committed(before, 0)
        assert size.records() > before


def test_after_a_restricting_change_it_is_small() -> None:
    assert size_of().records(urgent=True) == URGENT_RECORDS_MAX
    assert size_of(records_max=10).records(urgent=True) == 10


def test_bytes_out_bound_it() -> None:
    size = size_of(bytes_out_max=1_000_000)
    size.committed(1_000, 1_000_000)
    assert size.records() == int(1_000 * HEADROOM)


def test_it_grows_again_slowly() -> None:
    size = size_of(bytes_out_max=1_000_000)
    size.committed(100, 1_000_000)
    before = size.records()
    size.committed(100, 0)
    assert before < size.records() < 2 * before


def test_one_record_larger_than_the_bound_is_still_taken() -> None:
    size = size_of(bytes_out_max=10)
    size.committed(1, 1_000_000)
    assert size.records() == 1
