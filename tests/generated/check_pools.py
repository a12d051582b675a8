"""Runs each shape of the printed pools through success, failing tasks, killed workers, a full queue, tasks that take too
long, sources that break and Ctrl-C: every item comes back once. `pools`, the printed file, stands beside this one."""

import asyncio
import collections
import concurrent.futures
import itertools
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import pools


class Unpicklable(Exception):
    """It pickles, but nothing can be made of the pickle."""

    def __init__(self, first, second):
        super().__init__("%s %s" % (first, second))


def double(item):
    return 2 * item


def picky(item):
    if item % 10 == 3:
        raise ValueError("item %d" % item)
    if item % 10 == 7:
        raise Unpicklable(item, "is odd")
    return 2 * item


def awkward(item):
    return (lambda: item) if item == 5 else item


def deadly(item):
    if item == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    if item == 23:
        os._exit(3)
    return 2 * item


def dies_once(argument):
    folder, item = argument
    mark = os.path.join(folder, str(item))
    if item in (2, 11) and not os.path.exists(mark):
        with open(mark, "w"):
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def sleepy(item):
    time.sleep(120 if item == 4 else 0.01)
    return item


def dozy(item):
    if item in (2, 3, 4, 5):
        let_go.wait(60)
    return item


let_go = threading.Event()


def remember(value):
    global remembered
    remembered = value


def refuse():
    raise OSError("no licence")


def recall(item):
    return (item, remembered)


async def double_later(item):
    await asyncio.sleep(0.001)
    return 2 * item


async def picky_later(item):
    await asyncio.sleep(0.001)
    return picky(item)


async def sleepy_later(item):
    await asyncio.sleep(120 if item == 4 else 0.01)
    return item


async def listed(outcomes):
    return [outcome async for outcome in outcomes]


class Counted:
    """A source that knows how many of its items are out."""

    def __init__(self, count):
        self.items, self.taken = iter(range(count)), 0

    def __iter__(self):
        return self

    def __next__(self):
        item = next(self.items)
        self.taken += 1
        return item


def broken_source():
    yield from range(5)
    raise OSError("the source broke")


class Shapes(unittest.TestCase):
    """What holds for every shape."""

    def run_shape(self, shape, function, items, **options):
        if shape == "threads":
            return pools.in_threads(function, items, workers=3, **options)
        if shape == "processes":
            return pools.in_processes(function, items, workers=2, **options)
        if shape == "chunks":
            return pools.in_processes(function, items, workers=2, chunksize=4, **options)
        return pools.in_turn(function, items, **options)

    def everywhere(self):
        for shape in ("threads", "processes", "chunks", "serial"):
            with self.subTest(shape):
                yield shape

    def once_each(self, outcomes, items):
        self.assertEqual(collections.Counter(outcome.item for outcome in outcomes), collections.Counter(items))

    def test_success(self):
        for shape in self.everywhere():
            outcomes = list(self.run_shape(shape, double, range(50)))
            self.once_each(outcomes, range(50))
            self.assertTrue(all(outcome.error is None and outcome.value == 2 * outcome.item for outcome in outcomes))
            self.assertEqual(list(self.run_shape(shape, double, [])), [])

    def test_failing_tasks_cost_themselves_alone(self):
        for shape in self.everywhere():
            outcomes = list(self.run_shape(shape, picky, range(50)))
            self.once_each(outcomes, range(50))
            for outcome in outcomes:
                if outcome.item % 10 == 3:
                    self.assertIsInstance(outcome.error, ValueError)
                    self.assertEqual(outcome.error.args, ("item %d" % outcome.item,))
                elif outcome.item % 10 == 7:
                    self.assertIn("%d is odd" % outcome.item, str(outcome.error))
                else:
                    self.assertEqual((outcome.value, outcome.error), (2 * outcome.item, None))

    def test_values_raises_all_at_the_end(self):
        for shape in self.everywhere():
            got, error = [], sys.stderr
            with open(os.devnull, "w") as sys.stderr, self.assertRaises(pools.TasksFailed) as failure:
                got.extend(pools.values(self.run_shape(shape, picky, range(20))))
            sys.stderr = error
            self.assertEqual(sorted(outcome.item for outcome in failure.exception.failed), [3, 7, 13, 17])

    def test_a_source_that_breaks_loses_nothing(self):
        for shape in self.everywhere():
            outcomes = []
            with self.assertRaisesRegex(OSError, "the source broke"):
                for outcome in self.run_shape(shape, double, broken_source()):
                    outcomes.append(outcome)
            self.once_each(outcomes, range(5))

    def test_a_slow_consumer_holds_the_source_back(self):
        for shape, most in (("threads", 5), ("processes", 4), ("chunks", 16), ("serial", 1)):
            with self.subTest(shape):
                source, back, out = Counted(60), 0, 0
                options = {} if shape == "serial" else {"waiting": 2}
                for _ in self.run_shape(shape, double, source, **options):
                    out = max(out, source.taken - back)
                    back += 1
                    time.sleep(0.002)
                self.assertEqual(back, 60)
                self.assertLessEqual(out, most)

    def test_who_stops_taking_leaves_no_thread_and_no_process(self):
        for shape in self.everywhere():
            threads = threading.active_count()
            first = list(itertools.islice(self.run_shape(shape, double, itertools.count()), 3))
            self.assertEqual(len(first), 3)
            self.assertEqual(threading.active_count(), threads)
            self.assertEqual(signal.getsignal(signal.SIGINT), signal.default_int_handler)

    def test_ctrl_c_loses_nothing(self):
        here = os.path.dirname(os.path.abspath(__file__))
        for shape in ("threads", "processes", "loop", "serial"):
            with self.subTest(shape):
                command = [sys.executable, os.path.join(here, "interrupted.py"), shape]
                child = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, universal_newlines=True)
                lines = []
                for line in child.stdout:
                    lines.append(line.split())
                    if sum(words[0] == "back" for words in lines) == 5:
                        break
                os.killpg(child.pid, signal.SIGINT)  # as a terminal does: to all processes
                with child.stdout:
                    lines.extend(line.split() for line in child.stdout)
                child.wait(60)
                taken = collections.Counter(words[1] for words in lines if words[0] == "took")
                back = collections.Counter(words[1] for words in lines if words[0] == "back")
                self.assertEqual(taken, back, lines)
                self.assertEqual(lines[-1], ["interrupted"], lines)
                self.assertLess(len(taken), 100)
                ended = {words[2] for words in lines if words[0] == "back"}
                self.assertLessEqual(ended, {"value", "CancelledError"}, lines)


    def test_a_second_ctrl_c_ends_it_and_leaves_no_process(self):
        here = os.path.dirname(os.path.abspath(__file__))
        for shape in ("threads", "processes", "loop"):
            with self.subTest(shape):
                command = [sys.executable, os.path.join(here, "interrupted.py"), shape, "long"]
                child = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, universal_newlines=True)
                child.stdout.readline()
                time.sleep(1)
                os.killpg(child.pid, signal.SIGINT)
                time.sleep(0.5)
                os.killpg(child.pid, signal.SIGINT)
                with child.stdout:
                    self.assertIn("interrupted", child.stdout.read())
                child.wait(60)
                self.assertTrue(gone(child.pid), shape)

    def test_workers_that_cannot_start_end_it(self):
        for shape in ("threads", "processes", "chunks"):
            with self.subTest(shape):
                logging.disable(logging.CRITICAL)
                source, outcomes = Counted(10_000), []
                with self.assertRaises(concurrent.futures.BrokenExecutor):
                    for outcome in self.run_shape(shape, double, source, initializer=refuse):
                        outcomes.append(outcome)
                logging.disable(logging.NOTSET)
                self.once_each(outcomes, range(source.taken))
                self.assertTrue(all(outcome.error is not None for outcome in outcomes))
                self.assertLess(source.taken, 100)


def gone(group):
    """Whether all processes of a group end within a while."""
    for _ in range(600):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


class Threads(unittest.TestCase):
    """What holds for threads alone."""

    def test_a_task_past_its_limit_is_given_up(self):
        outcomes = list(pools.in_threads(dozy, range(2, 12), workers=2, limit=1.5))
        let_go.set()
        self.assertEqual(sorted(outcome.item for outcome in outcomes), list(range(2, 12)))
        late = sorted(outcome.item for outcome in outcomes if isinstance(outcome.error, TimeoutError))
        self.assertEqual(late, [2, 3, 4, 5], outcomes)  # both threads stuck, twice: new ones go on

    def test_the_initializer_runs_in_each_thread(self):
        outcomes = list(pools.in_threads(recall, range(5), workers=2, initializer=remember, initargs=("here",)))
        self.assertEqual(sorted(outcome.value for outcome in outcomes), [(item, "here") for item in range(5)])

    def test_size_bounds_what_is_under_way(self):
        size = pools.Size(1, 4, period=0.01)
        source, back, out = Counted(200), 0, 0
        for _ in pools.in_threads(double, source, workers=4, size=size):
            out = max(out, source.taken - back)
            back += 1
        self.assertEqual(back, 200)
        self.assertLessEqual(out, 4)

    def test_size_finds_where_more_stops_paying_and_stays_about_there(self):
        now = [0.0]
        size = pools.Size(1, 64, period=1.0, clock=lambda: now[0])
        seen = []
        for _ in range(400):  # throughput grows up to 12 at once
            for _ in range(int(10 * min(size.room, 12))):
                now[0] += 1.0 / (10 * min(size.room, 12) - 0.5)
                size.ended()
            now[0] += 0.01
            seen.append(size.room)
        self.assertTrue(all(1 <= room <= 64 for room in seen))
        self.assertTrue(all(8 <= room <= 24 for room in seen[100:]), seen)
        turns = sum(one != other for one, other in zip(seen[100:], seen[101:]))
        self.assertLess(turns, 150, seen)


class Processes(unittest.TestCase):
    """What holds for processes alone."""

    def test_who_kills_its_worker_is_found_and_nobody_else_is_blamed(self):
        for chunksize in (1, 4):
            with self.subTest(chunksize):
                outcomes = list(pools.in_processes(deadly, range(40), workers=4, chunksize=chunksize))
                self.assertEqual(sorted(outcome.item for outcome in outcomes), list(range(40)))
                died = sorted(outcome.item for outcome in outcomes if outcome.error is not None)
                self.assertEqual(died, [7, 23], outcomes)

    def test_a_worker_that_dies_by_chance_costs_no_item(self):
        with tempfile.TemporaryDirectory() as folder:
            items = [(folder, item) for item in range(20)]
            outcomes = list(pools.in_processes(dies_once, items, workers=3))
            self.assertEqual(sorted(outcome.value for outcome in outcomes), list(range(20)), outcomes)

    def test_a_task_past_its_limit_is_killed_and_its_neighbours_are_not_lost(self):
        for chunksize in (1, 2):
            with self.subTest(chunksize):
                outcomes = list(pools.in_processes(sleepy, range(12), workers=2, chunksize=chunksize, limit=5.0))
                self.assertEqual(sorted(outcome.item for outcome in outcomes), list(range(12)))
                late = [outcome.item for outcome in outcomes if isinstance(outcome.error, TimeoutError)]
                self.assertEqual(late, [4], outcomes)
                self.assertTrue(all(outcome.error is None for outcome in outcomes if outcome.item != 4), outcomes)

    def test_what_cannot_be_pickled_costs_itself_alone(self):
        items = [1, lambda: 2, 3, threading.Lock(), 5, 6]
        for chunksize in (1, 6):
            with self.subTest(chunksize):
                outcomes = list(pools.in_processes(awkward, items, workers=2, chunksize=chunksize))
                self.assertEqual(len(outcomes), 6)
                self.assertEqual(sorted(outcome.value for outcome in outcomes if outcome.error is None), [1, 3, 6])

    def test_the_initializer_runs_in_each_worker(self):
        outcomes = list(pools.in_processes(recall, range(5), workers=2, initializer=remember, initargs=("here",)))
        self.assertEqual(sorted(outcome.value for outcome in outcomes), [(item, "here") for item in range(5)])


class Loop(unittest.TestCase):
    """The same for coroutines."""

    def test_success_and_failure(self):
        outcomes = asyncio.run(listed(pools.in_loop(picky_later, range(50), workers=7)))
        self.assertEqual(sorted(outcome.item for outcome in outcomes), list(range(50)))
        self.assertEqual(sum(outcome.error is not None for outcome in outcomes), 10)
        self.assertEqual(asyncio.run(listed(pools.in_loop(double_later, [], workers=7))), [])

    def test_an_async_source(self):
        async def source():
            for item in range(10):
                await asyncio.sleep(0)
                yield item

        outcomes = asyncio.run(listed(pools.in_loop(double_later, source(), workers=3)))
        self.assertEqual(sorted(outcome.value for outcome in outcomes), list(range(0, 20, 2)))

    def test_no_more_at_once_than_there_is_room(self):
        async def run():
            source, back, out = Counted(60), 0, 0
            async for _ in pools.in_loop(double_later, source, workers=5):
                out = max(out, source.taken - back)
                back += 1
                await asyncio.sleep(0.001)
            return back, out

        back, out = asyncio.run(run())
        self.assertEqual(back, 60)
        self.assertLessEqual(out, 5)

    def test_a_task_past_its_limit_is_cancelled(self):
        outcomes = asyncio.run(listed(pools.in_loop(sleepy_later, range(10), workers=4, limit=3.0)))
        late = [outcome.item for outcome in outcomes if isinstance(outcome.error, asyncio.TimeoutError)]
        self.assertEqual((sorted(outcome.item for outcome in outcomes), late), (list(range(10)), [4]))

    def test_a_source_that_breaks_loses_nothing(self):
        async def run():
            outcomes = []
            try:
                async for outcome in pools.in_loop(double_later, broken_source(), workers=3):
                    outcomes.append(outcome)
            except OSError as error:
                return outcomes, error
            return outcomes, None

        outcomes, error = asyncio.run(run())
        self.assertEqual((sorted(outcome.item for outcome in outcomes), str(error)), (list(range(5)), "the source broke"))

    def test_drain_raises_all_at_the_end(self):
        got, error = [], sys.stderr
        with open(os.devnull, "w") as sys.stderr, self.assertRaises(pools.TasksFailed) as failure:
            asyncio.run(pools.drain(pools.in_loop(picky_later, range(20), workers=4), got.append))
        sys.stderr = error
        self.assertEqual((len(got), len(failure.exception.failed)), (16, 4))


if __name__ == "__main__":
    unittest.main()
