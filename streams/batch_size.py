"""[core] How many input records a deliverer takes into its next transaction.

Three bounds. The setting; halved after each failed attempt (a fenced or timed-out batch may be too
long for whoever keeps fencing it), and doubled again only by batches that filled the halved bound:
a small one proves nothing; and bytes out, from what the last batches put out for a record. That is
an estimate: routing itself stops at the bound, so a wrong one costs time, never safety.
"""

# After a restricting change the next transaction is immediate and small, so that the old rights'
# last batch is followed by an acknowledgement at once.
URGENT_RECORDS_MAX = 1_000
# Aim below the bound, as events are not all entitled alike.
HEADROOM = 0.8
# How much of a larger estimate survives one batch.
DECAY = 0.9
# Full batches before the bound is doubled: one, and twice as many each time that the doubled bound
# fails at once. What never works is tried in one batch of so many.
PROOFS_MAX = 64


class BatchSize:
    """Bounds of the next batch; units: records and bytes of keys, values and headers put out."""

    def __init__(self, *, records_max: int, bytes_out_max: int) -> None:
        assert records_max >= 1, "a batch holds at least one record"
        assert bytes_out_max >= 1, "a batch puts out at least one byte"
        self._records_max = records_max
        self.bytes_out_max = bytes_out_max
        self._halvings = 0
        self._proofs = 0
        self._proofs_needed = 1
        self._unproved = False  # the bound was doubled, and no batch has filled it since
        self._bytes_per_record = 0.0

    def records(self, *, urgent: bool = False) -> int:
        """The most records to take now; at least one."""
        records = self._records_max >> self._halvings
        if urgent:
            records = min(records, URGENT_RECORDS_MAX)
        if self._bytes_per_record > 0:
            records = min(records, int(self.bytes_out_max * HEADROOM / self._bytes_per_record))
        return max(records, 1)

    def failed(self) -> None:
        """A batch failed: take half as many next time."""
        self._proofs = 0
        if self._unproved:
            self._unproved = False
            self._proofs_needed = min(PROOFS_MAX, self._proofs_needed * 2)
        if self._records_max >> self._halvings > 1:
            self._halvings += 1

    def committed(self, records: int, bytes_out: int) -> None:
        """A batch was committed: remember what a record puts out, and, if the batch was as large
        as the halved bound, how far the bound may grow again: one step, and only when proved."""
        if records > 0:
            self._bytes_per_record = max(bytes_out / records, self._bytes_per_record * DECAY)
        if records < max(1, self._records_max >> self._halvings):
            return
        self._unproved = False
        if not self._halvings:
            self._proofs_needed = 1
            return
        self._proofs += 1
        if self._proofs >= self._proofs_needed:
            self._proofs = 0
            self._halvings -= 1
            self._unproved = True
