"""A pool of threads with a bounded queue. A template: what stands between the two marks is printed as it is."""

# ruff: noqa: E402
from common import Outcome, interruptible, stop

# poolpick: begin
import concurrent.futures
import time


def in_threads(function, items, workers, waiting=None, limit=None, size=None, initializer=None, initargs=()):
    """Yields an Outcome for each item, in the order in which tasks end.

    At most `workers + waiting` items are under way: a slow consumer holds the source back. `limit`: seconds after which
    a task is given up, its outcome a TimeoutError. Its thread goes on, for threads cannot be stopped: give what it calls
    a time-out too. `initializer`: runs once in each thread, for connections and the like (threading.local()).
    """
    source, more, broken_source, late = iter(items), True, None, []
    running = {}  # future: (item, when it is given up)
    # With a limit nothing waits in the pool's own queue, so that the clock of a task starts with the task.
    room = workers if limit else workers + (workers if waiting is None else waiting)
    pool = concurrent.futures.ThreadPoolExecutor(workers, initializer=initializer, initargs=initargs)
    with interruptible():
        try:
            while more or running:
                late = [future for future in late if not future.done()]
                if len(late) >= workers:  # every thread is stuck: go on with new ones
                    pool.shutdown(wait=False)
                    pool = concurrent.futures.ThreadPoolExecutor(workers, initializer=initializer, initargs=initargs)
                    late = []
                most = (size.room if size else room) - len(late)
                while more and len(running) < most and not stop.is_set():
                    try:
                        item = next(source)
                    except StopIteration:
                        more = False
                    except Exception as error:  # what was taken before is still brought to its end
                        more, broken_source = False, error
                    else:
                        try:
                            running[pool.submit(function, item)] = (item, time.monotonic() + (limit or 0))
                        except concurrent.futures.BrokenExecutor as error:  # the initializer failed
                            more, broken_source = False, error
                            yield Outcome(item, error=error)
                if stop.is_set():
                    more = False
                    for future in [future for future in running if future.cancel()]:
                        yield Outcome(running.pop(future)[0], error=concurrent.futures.CancelledError())
                done = concurrent.futures.wait(running, 0.2, concurrent.futures.FIRST_COMPLETED).done
                for future in done:
                    item, _ = running.pop(future)
                    error = future.exception()
                    yield Outcome(item, None if error else future.result(), error)
                    if size:
                        size.ended()
                for future in [future for future, (_, end) in running.items() if limit and time.monotonic() > end]:
                    item, _ = running.pop(future)
                    late.append(future)
                    yield Outcome(item, error=TimeoutError("no result after %s s" % limit))
        finally:
            for future in running:
                future.cancel()
            pool.shutdown(wait=not late)
        if broken_source is not None:
            raise broken_source
        if stop.is_set():
            raise KeyboardInterrupt
# poolpick: end
