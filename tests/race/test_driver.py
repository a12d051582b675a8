"""Tests of the driver of races: what it counts, what it loads, what it answers. Needs nothing of poolpick."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOURCE = os.path.join(ROOT, "src", "race", "driver.py")
FIXTURES = os.path.join(ROOT, "fixtures", "race")
sys.dont_write_bytecode = True


def load():
    spec = importlib.util.spec_from_file_location("poolpick_race_driver", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


driver = load()


def request(**more):
    return dict({"op": "load", "function": "steps:nap", "items": "steps:NUMBERS", "jsonl": False, "star": False}, **more)


class Windows(unittest.TestCase):
    def window(self, workers, seconds, task_seconds):
        window = driver.Window(workers, seconds, task_seconds)
        window.began = window.ended = 0.0
        return window

    def test_workers_in_step_are_counted_exactly(self):
        # Four workers, 0.1 s a task, all ending at once: 40 tasks a second, whatever the order within a burst.
        window = self.window(4, 0.3, 0.1)
        now = 0.0
        while not window.over:
            now += 0.1
            for worker in range(4):
                window.finished(now + worker * 1e-6, now - 0.1, None)
        result = window.result()
        self.assertEqual(result["tasks"] % 4, 0)
        self.assertAlmostEqual(result["tasks"] / result["seconds"], 40.0, delta=0.01)
        self.assertAlmostEqual(result["p95_seconds"], 0.1, delta=1e-4)

    def test_a_long_task_is_measured_in_one_round(self):
        window = self.window(2, 0.3, 5.0)
        self.assertTrue(window.one_round)
        window.finished(5.0, 0.0, None)
        self.assertFalse(window.over)
        window.finished(6.0, 0.0, None)
        self.assertTrue(window.over)
        self.assertAlmostEqual(window.result()["tasks"] / window.result()["seconds"], 2 / 6.0)

    def test_failures_are_counted(self):
        window = self.window(1, 0.2, 0.01)
        window.finished(0.1, 0.0, ValueError("lead"))
        window.finished(0.2, 0.1, ValueError("first"))
        window.finished(0.3, 0.2, None)
        window.finished(0.4, 0.3, KeyError("second"))
        result = window.result()
        self.assertEqual((result["tasks"], result["errors"], result["first_error"]), (3, 2, "ValueError: first"))

    def test_where_every_task_fails_there_is_no_result(self):
        window = self.window(1, 0.1, 0.01)
        for end in (0.1, 0.2, 0.3):
            window.finished(end, None, ValueError("no"))
        with self.assertRaisesRegex(driver.CannotRun, "every task failed: ValueError: no"):
            window.result()

    def test_tiny_tasks_are_timed_together(self):
        window = self.window(1, 0.2, 1e-7)
        chunk = window.finished_many(0.0, 1e-6, 1, None)
        self.assertEqual(chunk, 200)
        window.finished_many(1e-6, 0.3, chunk, None)
        self.assertTrue(window.over)
        self.assertEqual(window.result()["tasks"], 200)
        self.assertEqual(window.finished_many(0.0, 0.1, 1, None), 1)

    def test_memory_for_latencies_is_bounded(self):
        window = self.window(1, 1e9, 0.0)
        for number in range(3 * driver.MOST_LATENCIES):
            window.keep(number)
        self.assertEqual(len(window.latencies), driver.MOST_LATENCIES)
        self.assertGreater(max(window.latencies), driver.MOST_LATENCIES)


class Loading(unittest.TestCase):
    def setUp(self):
        self.addCleanup(setattr, sys, "path", sys.path[:])
        sys.path.insert(0, FIXTURES)

    def items(self, **more):
        return driver.all_items(request(**more))

    def refused(self, words, **more):
        with self.assertRaises(driver.CannotLoad) as caught:
            driver.Race(request(**more))
        self.assertIn(words, str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))

    def test_items_of_every_make(self):
        self.assertEqual(self.items()[0][:2], [(0,), (1,)])
        self.assertEqual(self.items(items="steps:PAIRS", star=True)[0], [(1, 2), (3, 4)])
        found, more = self.items(items="steps:count")
        self.assertEqual((len(found), more), (driver.MOST_ITEMS, True))
        found, more = self.items(items=os.path.join(FIXTURES, "rows.jsonl"), jsonl=True)
        self.assertEqual((found, more), ([({"name": "a"},), ({"name": "b"},), ({"name": "c"},)], False))

    def test_what_cannot_be_loaded_says_why(self):
        self.refused("`nowhere` cannot be imported: ModuleNotFoundError", function="nowhere:f")
        self.refused("`absent` is not in `steps`", function="steps:absent")
        self.refused("is no function but list", function="steps:NUMBERS")
        self.refused("gives no items: TypeError", items="steps:signal")
        self.refused("line 2 of", items=os.path.join(FIXTURES, "broken.jsonl"), jsonl=True)
        self.refused("cannot be read: FileNotFoundError", items="/nonexistent.jsonl", jsonl=True)
        self.refused("cannot be spread", items="steps:NUMBERS", star=True)
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            self.refused("holds no items", items=file.name, jsonl=True)

    def test_a_script_that_exits_is_no_module(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "exits_at_once.py"), "w") as file:
                file.write("raise SystemExit('use me\\nas a program')")
            sys.path.insert(0, folder)
            self.refused("SystemExit: use me as a program", function="exits_at_once:f")

    def test_coroutines_are_told_apart(self):
        self.assertTrue(driver.Race(request(function="steps:anap")).coroutine)
        self.assertFalse(driver.Race(request()).coroutine)
        self.assertIn("asyncio", driver.Race(request()).about()["unavailable"])


class Serving(unittest.TestCase):
    """The driver as poolpick runs it."""

    def serve(self, *requests, **more):
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "poolpick_race_driver.py")
            with open(SOURCE) as source, open(file, "w") as copy:
                copy.write(source.read())
            text = "".join(json.dumps(one) + "\n" for one in (request(**more),) + requests)
            done = subprocess.run([sys.executable, "-B", file, "serve"], input=text, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, universal_newlines=True, cwd=FIXTURES, timeout=120)  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        about, *answers = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertTrue(about["ok"], about)
        return answers

    def measure(self, executor, workers, task_seconds=0.0):
        return {"op": "measure", "executor": executor, "workers": workers, "seconds": 0.1, "task_seconds": task_seconds}

    def test_every_executor_answers(self):
        cells = [("serial", 1), ("thread", 2), ("process", 2)]
        for function, more in (("steps:nap", []), ("steps:anap", [("asyncio", 3)])):
            for answer in self.serve(*[self.measure(*cell) for cell in cells + more], function=function):
                self.assertTrue(answer["ok"], answer)
                self.assertGreater(answer["tasks"], 0)
                self.assertGreaterEqual(answer["p95_seconds"], 0.005)

    def test_processes_start_by_spawn_and_by_forkserver(self):
        for method in ("spawn", "forkserver"):
            (answer,) = self.serve(self.measure("process", 2), start_method=method)
            self.assertTrue(answer["ok"], answer)

    def test_what_is_printed_disturbs_nobody(self):
        for answer in self.serve(self.measure("serial", 1), self.measure("process", 1), function="steps:talks"):
            self.assertTrue(answer["ok"], answer)

    def test_what_cannot_run_says_why_and_the_next_does(self):
        def said(function, cell, words, **more):
            refused, fine = self.serve(self.measure(*cell), self.measure("serial", 1), function=function, **more)
            self.assertFalse(refused["ok"])
            self.assertIn(words, refused["error"])
            self.assertTrue(fine["ok"], fine)

        said("steps:local", ("process", 2), "the function cannot be pickled")
        said("steps:nap", ("process", 2), "the items cannot be pickled", items="steps:unpicklable")
        said("steps:kills_its_worker", ("process", 2), "a worker died")
        said("steps:fails_in_threads", ("thread", 2), "every task failed: RuntimeError: not here")
        said("steps:nap", ("asyncio", 2), "no coroutine function")

    def test_an_item_that_is_several_arguments(self):
        (answer,) = self.serve(self.measure("process", 1), function="steps:add", items="steps:PAIRS", star=True)
        self.assertTrue(answer["ok"] and answer["errors"] == 0, answer)


if __name__ == "__main__":
    unittest.main()
