# What the servers of tests/phases.rs do, whatever they are made with.
import time

BIG = b"x" * 8_000_000


def spin(seconds):
    """Computes for this much time on the clock."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def burn(seconds):
    """Computes for this much time on a CPU."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
