"""A bounded crowd of coroutines. A template: what stands between the two marks is printed as it is."""

# ruff: noqa: E402
from common import Outcome, TasksFailed, stop

# poolpick: begin
import asyncio
import contextlib
import signal
import sys
import traceback


async def in_loop(function, items, workers, limit=None):
    """Yields an Outcome for each item, in the order in which tasks end. `function` is a coroutine function.

    At most `workers` coroutines exist at once, as behind a semaphore, but none is made before there is room for it.
    `items` may be an iterable that never blocks, or an async iterable. `limit`: seconds after which a task is cancelled,
    its outcome an asyncio.TimeoutError. The first Ctrl-C waits for what runs; the second cancels it.
    """
    loop, running, more, broken_source = asyncio.get_running_loop(), {}, True, None
    source = items.__aiter__() if hasattr(items, "__aiter__") else None
    plain = None if source else iter(items)
    handled = False

    async def one(item):
        return await function(item)

    def ask():
        loop.remove_signal_handler(signal.SIGINT)
        stop.set()

    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread, or no Unix
        loop.add_signal_handler(signal.SIGINT, ask)
        handled = True
    try:
        while more or running:
            while more and len(running) < workers and not stop.is_set():
                try:
                    item = await source.__anext__() if source else next(plain)
                except (StopIteration, StopAsyncIteration):
                    more = False
                except Exception as error:  # what was taken before is still brought to its end
                    more, broken_source = False, error
                else:
                    running[asyncio.ensure_future(asyncio.wait_for(one(item), limit))] = item
            more = more and not stop.is_set()
            if running:
                done, _ = await asyncio.wait(running, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    item = running.pop(task)
                    error = asyncio.CancelledError() if task.cancelled() else task.exception()
                    yield Outcome(item, None if error else task.result(), error)
        stopped = stop.is_set()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if handled:
            loop.remove_signal_handler(signal.SIGINT)
            stop.clear()
    if broken_source is not None:
        raise broken_source
    if stopped:
        raise KeyboardInterrupt


async def drain(outcomes, use):
    """Hands the values of tasks to `use`; prints every exception as it comes, and raises TasksFailed if there were any."""
    failed = []
    async for outcome in outcomes:
        if outcome.error is None:
            use(outcome.value)
        else:
            failed.append(outcome)
            error = outcome.error
            traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)
    if failed:
        raise TasksFailed(failed)
# poolpick: end
