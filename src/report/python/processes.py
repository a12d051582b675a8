"""A pool of processes that outlives its workers. A template: what stands between the two marks is printed as it is."""

# ruff: noqa: E402
from common import Outcome, interruptible, stop

# poolpick: begin
import collections
import concurrent.futures
import multiprocessing
import pickle
import signal
import time
import traceback

# Workers start from a clean server, not as copies of a process that may have threads. They import the main module: the
# guard at the end of this file is needed.
METHODS = multiprocessing.get_all_start_methods()
CONTEXT = multiprocessing.get_context("forkserver" if "forkserver" in METHODS else "spawn")


class InWorker(Exception):
    """Where in a worker the exception was raised."""


def start_worker(initializer, initargs):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; only the parent decides
    if initializer:
        initializer(*initargs)


def run_chunk(function, chunk):
    """In the worker: each item ends by itself, so that an exception, or what cannot be pickled, costs one item alone."""
    ended = []
    for item in chunk:
        try:
            ended.append(pickle.dumps((True, function(item), ""), pickle.HIGHEST_PROTOCOL))
        except BaseException as error:
            where = traceback.format_exc()
            try:
                packed = pickle.dumps((False, error, where))
                pickle.loads(packed)
            except Exception:  # an exception that cannot travel is told in words
                packed = pickle.dumps((False, RuntimeError("%s: %s" % (type(error).__name__, error)), where))
            ended.append(packed)
    return ended


def outcome_of(item, packed):
    try:
        good, value, where = pickle.loads(packed)
    except Exception as error:
        return Outcome(item, error=error)
    if good:
        return Outcome(item, value)
    value.__cause__ = InWorker("\n" + where)
    return Outcome(item, error=value)


def in_processes(function, items, workers, chunksize=1, waiting=None, limit=None, initializer=None, initargs=()):
    """Yields an Outcome for each item, in the order in which tasks end.

    At most `workers + waiting` chunks are under way. `function` and items must be picklable. When a worker dies (out of
    memory, a crash) a pool of half as many workers takes over, and what was under way is run again, one at a time, until
    the item that kills its worker is found: alone, twice. Tasks must bear being run again. When ten workers die in a row
    and nothing ends in between, no more items are taken, and BrokenExecutor is raised after the last outcome. `limit`:
    seconds after which a task is given up and its worker killed, its outcome a TimeoutError. `initializer`: runs once in
    each worker, for what is dear to build (models, connections). Where workers grow, pass `max_tasks_per_child` to the
    executor (Python 3.11).
    """
    source, more, broken_source = iter(items), True, None
    again, suspects = collections.deque(), collections.deque()  # chunks to run once more; these, each alone
    running = {}  # future: (chunk, when it is given up, whether it runs alone)
    died_alone = None  # the chunk that ran alone when its worker died last: once may be chance
    in_vain = 0  # workers that died since a chunk last ended

    def new_pool():
        return concurrent.futures.ProcessPoolExecutor(workers, CONTEXT, start_worker, (initializer, initargs))

    def kill(pool):
        for process in list((pool._processes or {}).values()):  # no public way before Python 3.14
            process.kill()

    def died(error):
        return isinstance(error, concurrent.futures.BrokenExecutor)

    def is_lost(pool):  # before Python 3.12 a worker that dies beside a cancelled future takes the pool's own thread along
        names = ("_executor_manager_thread", "_queue_management_thread")
        threads = [getattr(pool, name, None) for name in names]
        return any(thread is not None and not thread.is_alive() for thread in threads)

    pool = new_pool()
    with interruptible():
        try:
            while more or again or suspects or running:
                broken = False
                alone = bool(suspects) or any(lonely for _, _, lonely in running.values())
                room = 1 if alone else workers if limit else workers + (workers if waiting is None else waiting)
                while len(running) < room and not stop.is_set() and not broken:
                    if suspects:
                        chunk = suspects.popleft()
                    elif again:
                        chunk = again.popleft()
                    else:
                        chunk = []
                        while more and len(chunk) < chunksize:
                            try:
                                chunk.append(next(source))
                            except StopIteration:
                                more = False
                            except Exception as error:  # what was taken before is still brought to its end
                                more, broken_source = False, error
                        if not chunk:
                            break
                    try:
                        future = pool.submit(run_chunk, function, chunk)
                    except concurrent.futures.BrokenExecutor:
                        (suspects if alone else again).appendleft(chunk)
                        broken = True
                    else:
                        running[future] = (chunk, time.monotonic() + (limit or 0) * len(chunk), alone)
                if stop.is_set():
                    more = False
                    unrun = list(again) + list(suspects)
                    again.clear()
                    suspects.clear()
                    unrun.extend(running.pop(future)[0] for future in list(running) if future.cancel())
                    for item in [item for chunk in unrun for item in chunk]:
                        yield Outcome(item, error=concurrent.futures.CancelledError())
                concurrent.futures.wait(running, 0.2, concurrent.futures.FIRST_COMPLETED)
                overdue = [future for future, (_, end, _) in running.items() if limit and time.monotonic() > end]
                overdue = [future for future in overdue if not future.done()]
                if overdue:
                    kill(pool)
                lost = bool(running) and is_lost(pool)
                if overdue or lost or any(future.done() and died(future.exception()) for future in running):
                    broken = True
                    concurrent.futures.wait(running, 0 if lost else 10)  # a broken pool ends all of its futures
                for future in [future for future in running if future.done() or broken]:
                    chunk, _, lonely = running.pop(future)
                    error = future.exception() if future.done() else concurrent.futures.BrokenExecutor("no answer")
                    guilty = future in overdue or not died(error)
                    if lonely and not guilty and not overdue:
                        guilty = len(chunk) > 1 or chunk is died_alone
                        died_alone = chunk
                    if error is None:
                        in_vain = 0
                        for item, packed in zip(chunk, future.result()):
                            yield outcome_of(item, packed)
                    elif not guilty and lonely:
                        suspects.appendleft(chunk)  # alone once more, before any other
                    elif not guilty:
                        (again if overdue else suspects).append(chunk)
                    elif len(chunk) > 1:  # which of them was it?
                        (suspects if lonely else again).extend([item] for item in chunk)
                    else:
                        late = TimeoutError("no result after %s s" % limit)
                        yield Outcome(chunk[0], error=late if future in overdue else error)
                if broken:
                    kill(pool)  # whoever is left of it
                    pool.shutdown()
                    if not overdue:
                        workers, in_vain = max(1, workers // 2), in_vain + 1
                    if in_vain > 9 and more:  # they die of something else than an item: take no more of them
                        more, broken_source = False, concurrent.futures.BrokenExecutor("workers die one after another")
                    pool = new_pool()
        except KeyboardInterrupt:
            kill(pool)
            running.clear()
            raise
        finally:
            left = list((pool._processes or {}).values())
            for future in running:
                future.cancel()
            pool.shutdown()
            for process in left:  # none, unless the pool was lost
                process.kill()
        if broken_source is not None:
            raise broken_source
        if stop.is_set():
            raise KeyboardInterrupt
# poolpick: end
