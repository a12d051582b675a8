"""Measures one executor with so many workers at a time, on the user's own function and items, as poolpick asks for it.

Python 3.8 and later, standard library only. Requests come as JSON lines on stdin and answers go as JSON lines to stdout;
both are put aside before anything of the user's is imported, which then reads from and prints to nowhere.

    driver.py serve                    answers requests until there are no more
    driver.py profile LOAD SECONDS     calls the function on its items, one after another, for so long

`LOAD` is the request that names function and items. What workers run is imported from this file by its name, so that a
spawned process, a sub-interpreter and a fork find it alike.
"""

import asyncio
import functools
import importlib
import itertools
import json
import multiprocessing
import os
import pickle
import platform
import queue
import random
import sys
import time
from concurrent import futures

NAME = "poolpick_race_driver"
# Of an iterator or a file, whose end nobody knows, so many items are taken.
MOST_ITEMS = 10000
# Tasks shorter than this are timed several at once: reading the clock would be a part of them.
TINY_SECONDS = 20e-6
CHUNK_SECONDS = 200e-6
# So many latencies are kept of a measurement.
MOST_LATENCIES = 4096
# Every worker must have answered before the clock starts; the import of a large package takes a while.
START_SECONDS = 60.0
# A cluster must answer within this.
CONNECT_SECONDS = 5.0
# A task of the start keeps its worker busy for so long, so that the others get one too.
START_PAUSE = 0.002
clock = time.perf_counter


class CannotLoad(Exception):
    """Function or items are not what was said."""


class CannotRun(Exception):
    """The executor cannot run this function at all."""


def said(error):
    """An exception in one line."""
    text = " ".join(str(error).split())
    return "%s: %s" % (type(error).__name__, text) if text else type(error).__name__


def run_queue_seconds():
    """Seconds that this thread was runnable without a CPU; None where the kernel does not tell."""
    try:
        with open("/proc/thread-self/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return None


# ---- what workers run


def timed(function, arguments):
    start = clock()
    return start, function(*arguments)


def timed_coroutine(function, arguments):
    start = clock()
    return start, asyncio.run(function(*arguments))


def answer(function):
    """Makes a worker import what it needs and say who it is."""
    time.sleep(START_PAUSE)
    return os.getpid()


# ---- function and items


def named(path):
    """The object that `MODULE:NAME` names."""
    module, _, name = path.partition(":")
    try:
        found = importlib.import_module(module)
    except BaseException as error:  # also SystemExit: a script without a main guard
        raise CannotLoad("`%s` cannot be imported: %s" % (module, said(error)))
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise CannotLoad("`%s` is not in `%s`: %s" % (name, module, said(error)))
    return found


def lines(path):
    """One item a line."""
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield json.loads(line)
                    except ValueError as error:
                        raise CannotLoad("line %d of `%s` is no JSON: %s" % (number, path, error))
    except (OSError, UnicodeDecodeError) as error:
        raise CannotLoad("`%s` cannot be read: %s" % (path, said(error)))


def all_items(request):
    """The items as tuples of arguments, and whether there were more of them."""
    if request["jsonl"]:
        source = lines(request["items"])
    else:
        source = named(request["items"])
        try:
            source = source() if callable(source) else source
            if not isinstance(source, (list, tuple)):
                source = iter(source)
        except BaseException as error:
            raise CannotLoad("`%s` gives no items: %s" % (request["items"], said(error)))
    more = False
    if not isinstance(source, (list, tuple)):
        try:
            found = list(itertools.islice(source, MOST_ITEMS + 1))
        except CannotLoad:
            raise
        except BaseException as error:
            raise CannotLoad("`%s` gives no items: %s" % (request["items"], said(error)))
        more = len(found) > MOST_ITEMS
        source = found[:MOST_ITEMS]
    if not source:
        raise CannotLoad("`%s` holds no items" % request["items"])
    if not request["star"]:
        return [(item,) for item in source], more
    try:
        return [tuple(item) for item in source], more
    except TypeError as error:
        raise CannotLoad("an item of `%s` cannot be spread over arguments: %s" % (request["items"], said(error)))


class Race:
    """The function, its items, and how processes start."""

    def __init__(self, request):
        self.function = named(request["function"])
        if not callable(self.function):
            raise CannotLoad("`%s` is no function but %s" % (request["function"], type(self.function).__name__))
        self.items, self.more = all_items(request)
        self.coroutine = is_coroutine(self.function)
        method = request.get("start_method")
        try:
            self.context = multiprocessing.get_context(method)
        except ValueError as error:
            raise CannotLoad("processes cannot be started so: %s" % error)
        self.start_method = self.context.get_start_method()
        self.scheduler = request.get("scheduler")
        self.cycle = itertools.cycle(self.items)

    def about(self):
        return {
            "python": "%s %s" % (platform.python_implementation(), platform.python_version()),
            "coroutine": self.coroutine,
            "items": len(self.items),
            "more_items": self.more,
            "start_method": self.start_method,
            "unavailable": self.unavailable(),
        }

    def unavailable(self):
        """Executors that are not to be had here, and why."""
        why = {}
        if not self.coroutine:
            why["asyncio"] = "the function is no coroutine function"
        if not hasattr(futures, "InterpreterPoolExecutor"):
            why["interpreter"] = "this Python has no InterpreterPoolExecutor (3.14 and later)"
        try:
            import loky  # noqa: F401
        except Exception as error:
            why["loky"] = "loky is not installed" if isinstance(error, ImportError) else said(error)
        try:
            import distributed  # noqa: F401
        except Exception as error:
            said_so = "Dask's `distributed` is not installed" if isinstance(error, ImportError) else said(error)
            why.update(dict.fromkeys(("dask-thread", "dask-process", "dask"), said_so))
        return why

    def pool(self, executor, workers):
        if executor == "thread":
            return futures.ThreadPoolExecutor(workers)
        if executor == "process":
            return futures.ProcessPoolExecutor(workers, mp_context=self.context)
        if executor == "interpreter":
            return futures.InterpreterPoolExecutor(workers)
        if executor == "loky":
            import loky

            return loky.ProcessPoolExecutor(workers)
        if executor.startswith("dask"):
            return DaskPool(executor, workers, self.scheduler)
        raise CannotRun("`%s` is no executor" % executor)

    def measure(self, executor, workers, seconds, task_seconds):
        if executor == "asyncio" and not self.coroutine:
            raise CannotRun("the function is no coroutine function")
        window = Window(1 if executor == "serial" else workers, seconds, task_seconds)
        began, delay = clock(), run_queue_seconds()
        if executor == "serial":
            self.serial(window)
        elif executor == "asyncio":
            asyncio.run(self.loop(window))
        else:
            self.pooled(executor, window)
        result = window.result()
        if executor == "serial" and delay is not None:
            result["run_queue_share"] = (run_queue_seconds() - delay) / (clock() - began)
        return result

    # ---- one after another

    def serial(self, window):
        if self.coroutine:
            asyncio.run(self.awaited(window))
            return
        function, cycle, chunk = self.function, self.cycle, 1
        while not window.over:
            start = clock()
            done, error = 0, None
            try:
                for arguments in itertools.islice(cycle, chunk):
                    function(*arguments)
                    done += 1
            except BaseException as failed:
                error = failed
            now = clock()
            chunk = window.finished_many(start, now, done, error)

    async def awaited(self, window):
        function, cycle, chunk = self.function, self.cycle, 1
        while not window.over:
            start = clock()
            done, error = 0, None
            try:
                for arguments in itertools.islice(cycle, chunk):
                    await function(*arguments)
                    done += 1
            except BaseException as failed:
                error = failed
            now = clock()
            chunk = window.finished_many(start, now, done, error)

    # ---- an event loop

    async def loop(self, window):
        loop, all_over, pending = asyncio.get_event_loop(), asyncio.Event(), set()

        def launch():
            start = clock()
            task = loop.create_task(self.function(*next(self.cycle)))
            pending.add(task)
            task.add_done_callback(functools.partial(ended, start))

        def ended(start, task):
            pending.discard(task)
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            if window.over:
                return
            window.finished(clock(), start, error)
            if window.over:
                all_over.set()
            elif not window.one_round:
                launch()

        for _ in range(window.workers):
            launch()
        await all_over.wait()
        for task in list(pending):
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    # ---- pools

    def pooled(self, executor, window):
        if executor in ("process", "interpreter"):
            self.check_picklable()
        # The clocks of other machines are not this one's.
        is_elsewhere = executor == "dask"
        task = timed_coroutine if self.coroutine else timed
        function, cycle, done = self.function, self.cycle, queue.SimpleQueue()
        began = clock()
        pool = self.pool(executor, window.workers)
        pending = set()

        def ended(future):
            done.put((clock(), future))

        def submit():
            future = pool.submit(task, function, next(cycle))
            pending.add(future)
            future.add_done_callback(ended)

        try:
            start_workers(pool, executor, function, window.workers)
            window.start_seconds = clock() - began
            window.begin()
            # One task waits for each worker, so that none of them is without.
            for _ in range(window.workers * (1 if window.one_round else 2)):
                submit()
            while not window.over:
                now, future = done.get()
                pending.discard(future)
                error = future.exception()
                if isinstance(error, futures.BrokenExecutor):
                    raise error
                window.finished(now, None if error or is_elsewhere else future.result()[0], error)
                if not window.one_round and not window.over:
                    submit()
        except futures.BrokenExecutor as error:
            raise CannotRun("a worker died: %s" % said(error))
        finally:
            for future in list(pending):
                future.cancel()
            pool.shutdown(wait=True)

    def check_picklable(self):
        try:
            pickle.dumps(self.function)
        except Exception as error:
            raise CannotRun("the function cannot be pickled: %s" % said(error))
        try:
            pickle.dumps(self.items[0])
        except Exception as error:
            raise CannotRun("the items cannot be pickled: %s" % said(error))


class DaskPool:
    """A Dask cluster as an executor: one of our own on this machine, or one that is there."""

    def __init__(self, executor, workers, scheduler):
        import distributed

        self.cluster = None
        if executor != "dask":
            processes, threads = (workers, 1) if executor == "dask-process" else (1, workers)
            self.cluster = distributed.LocalCluster(
                n_workers=processes, threads_per_worker=threads, processes=True, memory_limit=None, dashboard_address=None,
                silence_logs=50,
            )
        try:
            self.client = distributed.Client(self.cluster or scheduler, set_as_default=False, timeout=CONNECT_SECONDS)
        except Exception as error:
            if self.cluster:
                self.cluster.close()
            raise CannotRun("the cluster cannot be reached: %s" % said(error))
        # Two calls with the same arguments are two tasks.
        self.executor = self.client.get_executor(pure=False)

    def submit(self, *call):
        return self.executor.submit(*call)

    def shutdown(self, wait):
        self.executor.shutdown(wait=False)
        self.client.close()
        if self.cluster:
            self.cluster.close()


def start_workers(pool, executor, function, workers):
    """Returns when every worker is there and has imported the function."""
    if executor in ("thread", "interpreter", "dask-thread", "dask"):
        # Threads are there at once; one interpreter cannot be told from another by its process.
        futures.wait([pool.submit(answer, function) for _ in range(4 * workers)])
        return
    there, deadline = set(), clock() + START_SECONDS
    while len(there) < workers and clock() < deadline:
        there.update(future.result() for future in [pool.submit(answer, function) for _ in range(2 * workers)])


def is_coroutine(function):
    function = getattr(function, "__wrapped__", None) or function
    while isinstance(function, functools.partial):
        function = function.func
    call = getattr(function, "__call__", None)
    return asyncio.iscoroutinefunction(function) or asyncio.iscoroutinefunction(call)


class Window:
    """The part of the tasks that counts.

    The clock starts when every worker has finished one task, and stops after so long, when as many tasks as workers, or a
    multiple of that, have been finished since: workers that keep in step end their tasks at one time, and some of them
    would else be cut off. Where one task takes as long as the whole window, one round of tasks is all that is measured.
    """

    def __init__(self, workers, seconds, task_seconds):
        self.workers = workers
        self.seconds = seconds
        self.one_round = task_seconds >= seconds
        self.lead = 0 if self.one_round else workers
        self.count = self.errors = 0
        self.first_error = None
        self.over = False
        self.latencies = []
        self.seen = 0
        self.start_seconds = None
        self.random = random.Random(1)
        self.began = self.ended = None
        self.begin()

    def begin(self):
        self.began = self.ended = clock()

    def finished(self, now, start, error):
        if self.over:
            return
        if self.lead > 0:
            self.lead -= 1
            self.began = now
            return
        self.count += 1
        self.ended = max(now, self.ended)
        if error is not None:
            self.fail(error)
        elif start is not None:
            self.keep(now - start)
        whole = self.count % self.workers == 0
        self.over = whole and (self.one_round or now - self.began >= self.seconds)

    def finished_many(self, start, now, done, error):
        """Tasks done one after another, and one that failed; returns how many to do next."""
        tasks = done + (error is not None)
        mean = (now - start) / tasks
        if self.lead > 0:
            self.lead = 0
            self.began = now
        else:
            self.count += tasks
            self.ended = now
            if error is not None:
                self.fail(error)
            if done:
                self.keep(mean)
            self.over = self.one_round or now - self.began >= self.seconds
        return max(1, int(CHUNK_SECONDS / max(mean, 1e-9))) if mean < TINY_SECONDS else 1

    def fail(self, error):
        self.errors += 1
        self.first_error = self.first_error or said(error)

    def keep(self, latency):
        self.seen += 1
        if len(self.latencies) < MOST_LATENCIES:
            self.latencies.append(latency)
            return
        place = self.random.randrange(self.seen)
        if place < MOST_LATENCIES:
            self.latencies[place] = latency

    def result(self):
        if self.errors == self.count:
            raise CannotRun("every task failed: %s" % self.first_error)
        ranked = sorted(self.latencies)
        return {
            "tasks": self.count,
            "errors": self.errors,
            "first_error": self.first_error,
            "seconds": self.ended - self.began,
            "p95_seconds": ranked[max(0, -(-95 * len(ranked) // 100) - 1)] if ranked else None,
            "start_seconds": self.start_seconds,
        }


# ---- poolpick's side


def silence(show):
    """stdin is empty; what is printed goes to stderr where it is to be seen, else nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    if not show:
        os.dup2(nowhere, 2)
    os.dup2(2, 1)
    os.close(nowhere)


def find_from_working_directory():
    """Modules are looked for where poolpick was started, as `python -m` does, and this one where it is."""
    here = os.path.dirname(os.path.abspath(__file__))
    rest = [entry for entry in sys.path if entry not in ("", here, os.getcwd())]
    sys.path[:] = [os.getcwd()] + rest + [here]
    # It was set so that sub-interpreters look there too; what the function starts need not know.
    before = os.environ.pop("POOLPICK_RACE_PYTHONPATH", None)
    if before is not None:
        os.environ["PYTHONPATH"] = before
        if not before:
            del os.environ["PYTHONPATH"]


def reply_to(race, request):
    """The race, and what to say."""
    try:
        if request["op"] == "load":
            race = Race(request)
            return race, dict(race.about(), ok=True)
        result = race.measure(request["executor"], request["workers"], request["seconds"], request["task_seconds"])
        return race, dict(result, ok=True)
    except (CannotLoad, CannotRun) as error:
        return race, {"ok": False, "error": str(error)}
    except BaseException as error:
        return race, {"ok": False, "error": said(error)}


def serve():
    requests, replies = os.dup(0), os.dup(1)
    race = None
    silence(bool(os.environ.pop("POOLPICK_RACE_SHOW", "")))
    find_from_working_directory()
    with open(requests, encoding="utf-8") as lines_in, open(replies, "w", encoding="utf-8") as out:
        for line in iter(lines_in.readline, ""):
            race, reply = reply_to(race, json.loads(line))
            out.write(json.dumps(reply) + "\n")
            out.flush()
    # Threads of the function's own making hold nobody up.
    os._exit(0)


def profile(load, seconds):
    silence(False)
    find_from_working_directory()
    race = Race(json.loads(load))
    end = clock() + float(seconds)
    if race.coroutine:
        asyncio.run(one_task_at_a_time(race, end))
        return
    function, cycle = race.function, race.cycle
    while True:
        try:
            function(*next(cycle))
        except Exception:
            pass
        if clock() >= end:
            return


async def one_task_at_a_time(race, end):
    while True:
        try:
            await asyncio.ensure_future(race.function(*next(race.cycle)))
        except Exception:
            pass
        if clock() >= end:
            return


def main(arguments):
    if arguments[:1] == ["profile"]:
        profile(*arguments[1:])
    else:
        serve()


if __name__ == "__main__":
    # What workers unpickle is found in a module of this name, not in whatever their `__main__` is.
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    importlib.import_module(NAME).main(sys.argv[1:])
