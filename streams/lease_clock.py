"""The clock of the freshness lease: it goes on while the machine sleeps.

Linux's CLOCK_MONOTONIC stands still during suspend, so by it rights an hour old would look as
fresh as before the lid was shut. CLOCK_BOOTTIME counts suspend and is never set back. Systems
without it have their monotonic clock alone.

Instants of this clock are compared with each other only, never with a deadline of asyncio, whose
clock is another one.
"""

import time

if hasattr(time, "CLOCK_BOOTTIME"):

    def lease_clock() -> float:
        """Seconds since the machine was started, suspend included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:
    lease_clock = time.monotonic
