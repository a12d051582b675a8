"""What all pools share: outcomes, Ctrl-C, and a caller that loses no exception.

A template: what stands between the two marks is printed as it is. Runs on CPython 3.8 and later.
"""

# poolpick: begin
import contextlib
import signal
import sys
import threading
import traceback
from typing import Any, NamedTuple, Optional

stop = threading.Event()  # set by Ctrl-C; a program that handles signals itself may set it too


class Outcome(NamedTuple):
    """How one task ended: with a value, or with the exception that it raised."""

    item: Any
    value: Any = None
    error: Optional[BaseException] = None


class TasksFailed(Exception):
    """Some tasks raised; all of their exceptions are in `failed`."""

    def __init__(self, failed):
        super().__init__("%d tasks failed, the first with %r" % (len(failed), failed[0].error))
        self.failed = failed


@contextlib.contextmanager
def interruptible():
    """The first Ctrl-C asks to stop: nothing more is started, and what runs is waited for. The second one interrupts."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def ask(number, frame):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop.set()

    signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        stop.clear()
        with contextlib.suppress(ValueError):  # not in the main thread any more
            signal.signal(signal.SIGINT, signal.default_int_handler)


def values(outcomes):
    """Yields the values of tasks; prints every exception as it comes, and raises TasksFailed at the end if there were any."""
    failed = []
    for outcome in outcomes:
        if outcome.error is None:
            yield outcome.value
        else:
            failed.append(outcome)
            error = outcome.error
            traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)
    if failed:
        raise TasksFailed(failed)
# poolpick: end
