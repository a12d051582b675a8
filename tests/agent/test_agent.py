"""Tests of the agent: each runs a small program under it, on the interpreter that runs this file.

    python3 tests/agent/test_agent.py
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
AGENT = os.path.join(HERE, os.pardir, os.pardir, "src", "agent")
MARKS = os.path.join(HERE, os.pardir, os.pardir, "python")
sys.path.insert(0, HERE)

import channel  # noqa: E402

STARTS = ("fork", "spawn", "forkserver")
HEAD = """
import sys, os, time, functools, threading, multiprocessing
from concurrent.futures import ThreadPoolExecutor, ProcessPoolExecutor
def square(x): return x * x
def fail(x): raise ValueError(x)
def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end: pass
"""


class Target:
    """A program in a directory of its own, and the channel of its last run."""

    def __init__(self, source, name="pipeline.py", head=HEAD):
        self.directory = tempfile.mkdtemp(prefix="poolpick-test-")
        self.agent = os.path.join(self.directory, "agent")
        os.mkdir(self.agent)
        for file in ("sitecustomize.py", "poolpick_agent.py"):
            shutil.copy(os.path.join(AGENT, file), self.agent)
        self.program = os.path.join(self.directory, name)
        self.channel = os.path.join(self.directory, "channel")
        with open(self.program, "w") as file:
            file.write(head + textwrap.dedent(source))

    def run(self, *arguments, agent=True, stages=None, options=(), path=(), channel_path=None, **more):
        if channel_path is None:
            shutil.rmtree(self.channel, ignore_errors=True)
            os.mkdir(self.channel, 0o700)
        environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", PYTHONHASHSEED="0", **more)
        environment.pop("PYTHONPATH", None)
        path = list(path)
        if agent:
            path.insert(0, self.agent)
            environment["POOLPICK_CHANNEL"] = channel_path or self.channel
            if stages:
                environment["POOLPICK_STAGES"] = "\n".join(stages)
        if path:
            environment["PYTHONPATH"] = os.pathsep.join(path)
        command = [sys.executable, *options, self.program, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                              timeout=120, env=environment, cwd=self.directory)  # fmt: skip
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def close(self):
        shutil.rmtree(self.directory, ignore_errors=True)


class Case(unittest.TestCase):
    def target(self, source, **more):
        target = Target(source, **more)
        self.addCleanup(target.close)
        return target

    def measure(self, source, *arguments, same=True, head=HEAD, **more):
        """Runs a program with and without the agent; both must look the same from outside."""
        target = self.target(source, head=head)
        if same:
            bare = target.run(*arguments, agent=False, path=more.get("path", ()))
            seen = target.run(*arguments, **more)
            self.assertEqual(bare, seen)
            self.assertEqual(seen[0], 0, seen)
        else:
            seen = target.run(*arguments, **more)
        self.output = seen
        return channel.Run(target.channel)

    def assertStage(self, run, name, executor, **wanted):
        self.assertIn((name, executor), run.stages, [sorted(run.stages), run.notes, self.output])
        stage = run.stages[name, executor]
        for key, value in wanted.items():
            self.assertEqual(stage[key], value, (name, key, self.output))
        return stage

    def codes(self, run, code):
        return [detail for _, found, detail in run.notes if found == code]


class Threads(Case):
    def test_counts(self):
        run = self.measure("""
            with ThreadPoolExecutor(3) as pool:
                print(sum(pool.map(square, range(1000))))
                failed = [pool.submit(fail, i) for i in range(20)]
                for future in failed[:5]:
                    try: future.result()
                    except ValueError as error: print(error)
                print(repr(failed[5].exception()))
        """)
        self.assertStage(run, "pipeline.square", "thread", tasks=1000, failed=0, workers=3, depth=0, lost=0)
        self.assertStage(run, "pipeline.fail", "thread", tasks=20, failed=20, lost=14,
                         pool="concurrent.futures.ThreadPoolExecutor")  # fmt: skip

    def test_times(self):
        run = self.measure("""
            with ThreadPoolExecutor(1) as pool:
                list(pool.map(time.sleep, [0.01] * 20))
                list(pool.map(spin, [0.01] * 20))
        """)
        sleep, work = run.stages["time.sleep", "thread"], run.stages["pipeline.spin", "thread"]
        self.assertEqual((sleep["tasks"], work["tasks"]), (20, 20))
        self.assertGreater(sleep["wall"] / sleep["timed"], 9.9e6)
        self.assertLess(sleep["cpu"] / sleep["cpu_tasks"], 1e6)
        self.assertGreater(work["cpu"] / work["cpu_tasks"], 3e6)
        self.assertGreater(work["queue"] / work["queue_tasks"], 50e6)
        begins = [r for r in work["records"] if r["kind"] == "begin"]
        ends = [r for r in work["records"] if r["kind"] == "end"]
        self.assertEqual(len(begins), len(ends))
        for begin, end in zip(begins, ends):
            self.assertEqual(begin["thread"], end["thread"])
            self.assertLess(abs(end["when"] - begin["when"] - end["b"]), 3e6)

    def test_names(self):
        run = self.measure("""
            def traced(function):
                @functools.wraps(function)
                def wrapper(*args): return function(*args)
                return wrapper
            @traced
            def decorated(x): return x
            @functools.lru_cache()
            def cached(x): return x
            class Resizer:
                def __call__(self, x): return x
                def half(self, x): return x / 2
                @classmethod
                def make(cls, x): return x
                @staticmethod
                def area(x): return x
            class Unhashable(list):
                def __call__(self, x): return x
            def outer():
                def inner(x): return x
                return inner
            with ThreadPoolExecutor(2) as pool:
                for function in (functools.partial(functools.partial(square)), decorated, cached, Resizer(),
                                 Resizer().half, Resizer.make, Resizer.area, lambda x: x, outer(), abs, [].append,
                                 str.upper, Unhashable(), Resizer().__call__, int):
                    print(pool.submit(function, "a" if function is str.upper else 3).result())
        """)
        names = {name for name, _ in run.stages}
        self.assertEqual(names, {
            "pipeline.square", "pipeline.decorated", "pipeline.cached", "pipeline.Resizer", "pipeline.Resizer.half",
            "pipeline.Resizer.make", "pipeline.Resizer.area", "pipeline.<lambda>", "pipeline.outer.<locals>.inner",
            "builtins.abs", "builtins.list.append", "builtins.str.upper", "pipeline.Unhashable",
            "pipeline.Resizer.__call__", "builtins.int",
        })  # fmt: skip

    def test_odd_names(self):
        run = self.measure(r"""
            names = ["a\x1b[31m\n\t\x00b", "\udcff\ud800", "x" * 5000, "\N{SNOWMAN}"]
            with ThreadPoolExecutor(1) as pool:
                for name in names:
                    def function(): return 1
                    function.__qualname__ = function.__name__ = name
                    print(pool.submit(function).result())
        """)
        names = [name for name, _ in run.stages]
        self.assertIn("pipeline.a\x1b[31m\n\t\x00b", names)
        self.assertIn("pipeline.\\udcff\\ud800", names)
        self.assertTrue(all(len(name) <= 200 for name in names))

    def test_many_functions(self):
        run = self.measure("""
            with ThreadPoolExecutor(2) as pool:
                for number in range(300):
                    def function(): return 1
                    function.__qualname__ = "f%d" % number
                    pool.submit(function).result()
        """)
        self.assertEqual(sum(stage["tasks"] for stage in run.stages.values()), 300)
        self.assertStage(run, "other functions", "unknown", tasks=300 - 126)

    def test_subclass_and_override(self):
        run = self.measure("""
            class Mine(ThreadPoolExecutor):
                def submit(self, function, *args): return super().submit(function, *args)
            with Mine(2) as pool:
                print(sum(pool.map(square, range(50))))
        """)
        self.assertStage(run, "pipeline.square", "thread", tasks=50, pool="pipeline.Mine", workers=2)

    def test_cancelled(self):
        run = self.measure("""
            with ThreadPoolExecutor(1) as pool:
                futures = [pool.submit(time.sleep, 0.1)] + [pool.submit(square, i) for i in range(10)]
                print(sum(future.cancel() for future in futures[5:]), futures[5].cancel())
        """)
        self.assertStage(run, "pipeline.square", "thread", tasks=4, cancelled=6, depth=0)

    def test_callbacks_and_interference(self):
        self.measure("""
            import pickle, inspect, traceback, gc, weakref
            def deep(): return fail(1)
            with ThreadPoolExecutor(1) as pool:
                future = pool.submit(deep)
                future.add_done_callback(lambda f: print("done", f.exception()))
                try: future.result()
                except ValueError: print("".join(traceback.format_exc()))
                print(sorted(vars(future)) if False else future._state, inspect.signature(ThreadPoolExecutor.submit))
                big = type("Big", (), {})()
                reference = weakref.ref(big)
                f = pool.submit(lambda x: None, big); f.result(); del big, f
                time.sleep(0.05); print(reference())
                print(pool.submit(threading.current_thread).result().name)
            print(sys.path == [p for p in sys.path if "agent" not in p], "poolpick_agent" in sys.modules)
            low = [number for number in os.listdir("/proc/self/fd") if int(number) < 64]
            held = [os.path.realpath("/proc/self/fd/" + number) for number in low]
            print([path for path in held if "channel" in path or "agent" in path], len(threading.enumerate()))
        """)


class Processes(Case):
    def test_executor(self):
        for start in STARTS:
            with self.subTest(start):
                run = self.measure("""
                    if __name__ == "__main__":
                        multiprocessing.set_start_method(sys.argv[1])
                        with ProcessPoolExecutor(2) as pool:
                            print(sum(pool.map(square, range(200), chunksize=7)))
                            print(sum(pool.submit(square, i).result() for i in range(20)))
                            for future in [pool.submit(fail, i) for i in range(6)]:
                                try: future.result()
                                except ValueError as error: print(error, error.__cause__)
                """, start)  # fmt: skip
                stage = self.assertStage(run, "pipeline.square", "process", tasks=220, failed=0, workers=2, start=start)
                self.assertGreater(stage["queue_tasks"], 0)
                self.assertLess(stage["queue"], 60e9 * stage["queue_tasks"])
                self.assertStage(run, "pipeline.fail", "process", tasks=6, failed=6, lost=0, depth=0)

    def test_pool(self):
        for start in STARTS:
            with self.subTest(start):
                run = self.measure("""
                    def add(a, b): return a + b
                    if __name__ == "__main__":
                        with multiprocessing.get_context(sys.argv[1]).Pool(2, maxtasksperchild=30) as pool:
                            print(sum(pool.map(square, range(100))), sum(pool.imap(square, range(10))))
                            print(sorted(pool.imap_unordered(square, range(10), 3)), pool.apply(add, (1, 2)))
                            print(pool.starmap(add, [(1, 2)] * 10), pool.apply_async(add, (), {"a": 1, "b": 2}).get())
                            try: pool.map(fail, range(3), 3)
                            except ValueError as error: print(error)
                            pool.close(); pool.join()
                """, start)  # fmt: skip
                self.assertStage(run, "pipeline.square", "process", tasks=120, workers=2, start=start)
                self.assertStage(run, "pipeline.add", "process", tasks=12, pool="multiprocessing.pool.Pool")
                self.assertStage(run, "pipeline.fail", "process", tasks=3, failed=1)

    def test_thread_pool(self):
        run = self.measure("""
            from multiprocessing.pool import ThreadPool
            with ThreadPool(3) as pool:
                print(sum(pool.map(square, range(100))), sum(pool.imap(square, range(10))))
                pool.close(); pool.join()
        """)
        self.assertStage(run, "pipeline.square", "thread", tasks=110, workers=3, pool="multiprocessing.pool.ThreadPool")

    def test_broken(self):
        run = self.measure("""
            def die(x): os._exit(3)
            if __name__ == "__main__":
                with ProcessPoolExecutor(1) as pool:
                    try: pool.submit(die, 1).result()
                    except Exception as error: print(type(error).__name__)
        """)
        self.assertTrue(self.codes(run, "broken-pool"), run.notes)

    def test_not_picklable(self):
        run = self.measure("""
            def task(x): return 1
            if __name__ == "__main__":
                with ProcessPoolExecutor(1) as pool:
                    for args in ((square, threading.Lock()), (lambda: 1,)):
                        try: pool.submit(*args).result()
                        except Exception as error: print(type(error).__name__)
                    try: list(pool.map(task, [1, 2, threading.Lock(), 4], chunksize=2))
                    except Exception as error: print(type(error).__name__)
        """)
        self.assertEqual(sorted(self.codes(run, "not-picklable")), ["cannot pickle `_thread.lock`"] * 2 +
                         ["local function `<lambda>`"], run.notes)  # fmt: skip
        # They ended before they began: in the process that submits, and a chunk fails as one.
        self.assertStage(run, "pipeline.square", "process", tasks=1, failed=1, timed=0, depth=0)
        self.assertStage(run, "pipeline.<lambda>", "process", tasks=1, failed=1, timed=0, depth=0)
        self.assertStage(run, "pipeline.task", "process", tasks=4, failed=1)

    def test_not_picklable_in_pool(self):
        run = self.measure("""
            def task(x): return 1
            if __name__ == "__main__":
                with multiprocessing.Pool(1) as pool:
                    for function, items in ((square, [threading.Lock()]), (lambda x: 1, range(3)),
                                            (task, [1, 2, threading.Lock(), 4])):
                        try: pool.map(function, items, 2)
                        except Exception as error: print(type(error).__name__)
                    try: list(pool.imap(lambda x: 2, [1]))
                    except Exception as error: print(type(error).__name__)
                    print(pool.map(square, [2]))
        """)
        self.assertEqual(sorted(self.codes(run, "not-picklable")), ["cannot pickle `_thread.lock`"] * 2 +
                         ["local function `<lambda>`"], run.notes)  # fmt: skip
        self.assertStage(run, "pipeline.square", "process", tasks=2, failed=1, workers=1)
        self.assertStage(run, "pipeline.<lambda>", "process", tasks=4, failed=3, timed=0)
        self.assertStage(run, "pipeline.task", "process", tasks=4, failed=1)

    def test_results_that_cannot_be_sent(self):
        run = self.measure("""
            def lock(x): return threading.Lock()
            if __name__ == "__main__":
                with ProcessPoolExecutor(1) as pool, multiprocessing.Pool(1) as other:
                    for submit in (lambda: pool.submit(lock, 1).result(), lambda: other.apply(lock, (1,))):
                        try: submit()
                        except Exception as error: print(type(error).__name__)
        """)
        self.assertStage(run, "pipeline.lock", "process", tasks=2, failed=2)
        self.assertEqual(set(self.codes(run, "not-picklable")), {"cannot pickle `_thread.lock` in the result"}, run.notes)

    def test_missing_main_guard(self):
        run = self.measure("""
            multiprocessing.set_start_method("spawn", force=True)
            with ProcessPoolExecutor(1) as pool:
                print(pool.submit(square, 1).result())
        """, same=False)  # fmt: skip
        self.assertTrue(self.codes(run, "missing-main-guard"), run.notes)

    def test_spawned_path(self):
        self.measure("""
            def path(x): return [p for p in sys.path if "agent" in p], "_poolpick_agent" in sys.modules and 1
            if __name__ == "__main__":
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    print(pool.apply(path, (1,))[0])
        """)


class Joblib(Case):
    HEAD = """
import sys, threading
from joblib import Parallel, delayed
def work(x, scale=1): return x * scale
class Model:
    def fit(self, x): return x
"""

    def setUp(self):
        if importlib.util.find_spec("joblib") is None:
            self.skipTest("joblib cannot be imported here")

    def test_loky(self):
        run = self.measure("""
            def boom(x): raise ValueError(x)
            if __name__ == "__main__":
                print(sum(Parallel(n_jobs=2)(delayed(work)(i, scale=2) for i in range(100))))
                print(sum(Parallel(n_jobs=2)(delayed(lambda x: x + 1)(i) for i in range(20))))
                print(sum(Parallel(n_jobs=2)(delayed(Model().fit)(i) for i in range(20))))
                try: Parallel(n_jobs=2)(delayed(work)(threading.Lock()) for i in range(1))
                except Exception as error: print(type(error).__name__)
        """, head=self.HEAD)  # fmt: skip
        # Its workers are programs of their own; what they run goes by the name of the script.
        self.assertStage(run, "pipeline.work", "process", tasks=101, failed=1, workers=2, start="loky", pool="loky")
        self.assertStage(run, "pipeline.<genexpr>.<lambda>", "process", tasks=20, failed=0)
        self.assertStage(run, "pipeline.Model.fit", "process", tasks=20, failed=0)
        # cloudpickle moves what pickle does not.
        self.assertEqual(self.codes(run, "not-picklable"), ["cannot pickle `_thread.lock`"], run.notes)

    def test_others(self):
        run = self.measure("""
            if __name__ == "__main__":
                print(sum(Parallel(n_jobs=3, backend="threading")(delayed(work)(i) for i in range(100))))
                print(sum(Parallel(n_jobs=2, backend="multiprocessing")(delayed(work)(i) for i in range(100))))
        """, head=self.HEAD)  # fmt: skip
        self.assertStage(run, "pipeline.work", "thread", tasks=100, workers=3, pool="multiprocessing.pool.ThreadPool")
        self.assertStage(run, "pipeline.work", "process", tasks=100, workers=2)


    def test_one_job(self):
        # Nobody runs them but the program itself: there is no pool to tell of, and nothing may change.
        run = self.measure("""
            if __name__ == "__main__":
                print(Parallel(n_jobs=1)(delayed(work)(i, scale=2) for i in range(20)))
        """, head=self.HEAD)  # fmt: skip
        self.assertNotIn(("pipeline.work", "process"), run.stages)
        self.assertNotIn(("pipeline.work", "thread"), run.stages)

    def test_preferred_threads(self):
        run = self.measure("""
            if __name__ == "__main__":
                print(sum(Parallel(n_jobs=2, prefer="threads")(delayed(work)(i) for i in range(50))))
                print(sum(Parallel(n_jobs=2, require="sharedmem")(delayed(work)(i) for i in range(50))))
        """, head=self.HEAD)  # fmt: skip
        self.assertStage(run, "pipeline.work", "thread", tasks=100, failed=0, workers=2)

    def test_nested(self):
        # Inside of a worker process joblib uses threads, and inside of these nothing.
        run = self.measure("""
            def inner(x): return sum(Parallel(n_jobs=2)(delayed(work)(i) for i in range(x)))
            if __name__ == "__main__":
                print(sum(Parallel(n_jobs=2)(delayed(inner)(5) for i in range(6))))
                print(sum(Parallel(n_jobs=2, prefer="threads")(delayed(inner)(5) for i in range(6))))
        """, head=self.HEAD)  # fmt: skip
        self.assertStage(run, "pipeline.inner", "process", tasks=6, failed=0)
        self.assertStage(run, "pipeline.inner", "thread", tasks=6, failed=0)


class Asyncio(Case):
    def test_tasks(self):
        run = self.measure("""
            import asyncio
            async def fetch(x):
                await asyncio.sleep(0.01)
                spin(0.001)
                return x
            async def broken():
                raise ValueError
            async def main():
                print(sum(await asyncio.gather(*[fetch(i) for i in range(50)])))
                print(await asyncio.gather(broken(), return_exceptions=True))
                loop = asyncio.get_running_loop()
                print(await loop.run_in_executor(None, square, 3))
                if hasattr(asyncio, "to_thread"): print(await asyncio.to_thread(square, 4))
                else: print(await loop.run_in_executor(None, square, 4))
                loop.call_soon(spin, 0.08)
                await asyncio.sleep(0.01)
            asyncio.run(main())
        """)
        stage = self.assertStage(run, "pipeline.fetch", "asyncio", tasks=50, what=1)
        records = [record for record in stage["records"] if record["kind"] == "coroutine"]
        self.assertGreater(len(records), 5)
        for record in records:
            self.assertGreater(record["a"], 10e6)
            self.assertGreater(record["b"], 0.9e6)
            self.assertEqual(record["y"], 2)
        self.assertGreater(max(record["x"] for record in records), 5000)
        self.assertStage(run, "pipeline.broken", "asyncio", tasks=1, failed=1, lost=0)
        self.assertStage(run, "pipeline.square", "thread", tasks=2)
        stalls = [r for stage in run.stages.values() for r in stage["records"] if r["kind"] == "stall"]
        self.assertEqual(len(stalls), 1)
        self.assertStage(run, "pipeline.spin", "asyncio")

    def test_payloads(self):
        run = self.measure("""
            import asyncio, weakref
            class Big: pass
            async def crunch(number, blob, *more, key=None):
                await asyncio.sleep(0)
                return [number] * 1000
            async def drops(big):
                seen = weakref.ref(big)
                del big
                await asyncio.sleep(0)
                return seen() is None
            async def waits(queue, text):
                await asyncio.sleep(0)
                return text
            async def quick():
                return b"x" * 3000
            async def main():
                done = await asyncio.gather(*[crunch(i, b"x" * 5000, 1, key="k") for i in range(40)])
                print(len(done), done[39] == [39] * 1000)
                print(await asyncio.gather(drops(Big()), waits(asyncio.Queue(), "t")))
                async def local(x): return x
                print(await asyncio.ensure_future(local(1)), len(await asyncio.create_task(quick())))
            asyncio.run(main())
        """)
        found = run.payloads("pipeline.crunch", "asyncio", "arguments")
        # How many are weighed within their 200 microseconds is the machine's affair; one always is.
        self.assertGreaterEqual(len(found), 1)
        self.assertTrue(all(abs(size - 5000) < 60 for size in found), found)
        self.assertEqual(len(found), len(run.payloads("pipeline.crunch", "asyncio", "result")))
        self.assertGreater(run.payloads("pipeline.crunch", "asyncio", "result")[0], 1000)
        self.assertTrue(run.payloads("pipeline.quick", "asyncio", "arguments"))
        self.assertGreater(run.payloads("pipeline.quick", "asyncio", "result")[0], 3000)
        self.assertFalse(run.payloads("pipeline.waits", "asyncio", "arguments"))
        notes = {stage: (code, detail) for stage, code, detail in run.notes}
        self.assertEqual(notes["pipeline.waits"][0], "payload-unknown")
        self.assertEqual(notes["pipeline.main.<locals>.local"], ("not-picklable", "local function `local`"))

    def test_never_retrieved(self):
        run = self.measure("""
            import asyncio, gc
            async def broken():
                raise ValueError
            async def main():
                asyncio.get_running_loop().set_exception_handler(lambda loop, context: print(context["message"]))
                asyncio.ensure_future(broken())
                await asyncio.sleep(0.01)
                gc.collect()
            asyncio.run(main())
        """)
        self.assertStage(run, "pipeline.broken", "asyncio", tasks=1, failed=1, lost=1)

    def test_debug_mode(self):
        self.measure("""
            import asyncio
            async def main():
                handle = asyncio.get_running_loop().call_later(0.001, print, 1)
                other = asyncio.get_running_loop().call_soon(print, 2)
                print([frame.name for frame in other._source_traceback][-1:], handle._source_traceback[-1].name)
                await asyncio.sleep(0.01)
            asyncio.run(main(), debug=True)
        """)


class Payloads(Case):
    SOURCE = """
        import multiprocessing.reduction, random, collections
        Point = collections.namedtuple("Point", "x y")
        class Row:
            def __init__(self, x): self.x, self.y = x, [x] * 10
        def same(x): return x
        def several(a, b=None, **more): return a
        cases = [7, "text" * 10, b"x" * 100000, list(range(1000)), {str(i): i * 0.5 for i in range(3000)},
                 [{"id": i, "name": "record-%d" % i} for i in range(30000)], Point(1, 2), [Row(i) for i in range(100)],
                 b"y" * (3 << 20), "z" * (5 << 20), bytearray(2 << 20), {1, 2, 3}]
        sizes = [len(multiprocessing.reduction.ForkingPickler.dumps(case)) for case in cases]
    """

    def check(self, run, executor):
        sizes = [int(size) for size in self.output[1].split()]
        for number, size in enumerate(sizes):
            for kind in ("arguments", "result"):
                found = run.payloads("pipeline.f%d" % number, executor, kind)
                self.assertTrue(found, (number, kind, run.notes))
                # (A spawned process calls the script `__mp_main__`: three bytes more.)
                self.assertLess(abs(found[0] - size), 0.01 * size + 4, (number, kind))

    def test_threads(self):
        run = self.measure(textwrap.dedent(self.SOURCE) + textwrap.dedent("""
            with ThreadPoolExecutor(1) as pool:
                for number, case in enumerate(cases):
                    exec("def f%d(x): return x" % number)
                    assert pool.submit(globals()["f%d" % number], case).result() is case
            print(*sizes)
        """))  # fmt: skip
        self.check(run, "thread")

    def test_processes(self):
        for start in ("fork", "spawn"):
            run = self.measure(textwrap.dedent(self.SOURCE) + textwrap.dedent("""
                for number in range(len(cases)): exec("def f%d(x): return x" % number)
                if __name__ == "__main__":
                    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(sys.argv[1])) as pool:
                        for number, case in enumerate(cases):
                            list(pool.map(globals()["f%d" % number], [case]))
                    print(*sizes)
            """), start)  # fmt: skip
            self.check(run, "process")

    def test_flat_and_large(self):
        run = self.measure("""
            def length(x): return len(x)
            with ThreadPoolExecutor(1) as pool:
                print(pool.submit(length, b"x" * (100 << 20)).result())
        """)
        self.assertLess(abs(run.payloads("pipeline.length", "thread", "arguments")[0] / (100 << 20) - 1), 0.01)
        record = [r for r in run.stages["pipeline.length", "thread"]["records"] if r["kind"] == "arguments"][0]
        self.assertEqual(record["flags"], 16)

    def test_refusals(self):
        run = self.measure("""
            import socket
            calls = []
            class Loud:
                def __reduce__(self): calls.append("reduce"); return (Loud, ())
            class Proxy:
                def __getattr__(self, name): calls.append(name); raise AttributeError(name)
            class Quiet: pass
            def a(*x): pass
            def b(*x): pass
            def c(*x): pass
            def d(*x): pass
            def e(*x): pass
            with ThreadPoolExecutor(1) as pool:
                pool.submit(a, 1, threading.Lock()).result()
                pool.submit(b, [Loud()]).result()
                pool.submit(c, socket.socket()).result()
                pool.submit(d, Proxy()).result()
                pool.submit(e, multiprocessing.Queue()).result()
                local = lambda: 1
                pool.submit(local).result()
            print(calls)
        """)
        notes = {stage: (code, detail) for stage, code, detail in run.notes if code != "opened-before-fork"}
        self.assertEqual(notes["pipeline.a"], ("not-picklable", "cannot pickle `_thread.lock` in argument 2"))
        self.assertEqual(notes["pipeline.b"][0], "payload-unknown")
        self.assertEqual(notes["pipeline.c"][0], "payload-unknown")
        self.assertEqual(notes["pipeline.d"][0], "payload-unknown")
        self.assertEqual(notes["pipeline.e"][0], "payload-unknown")
        self.assertEqual(notes["pipeline.<lambda>"], ("not-picklable", "local function `<lambda>`"))

    def test_shadowed_pickle(self):
        target = self.target("""
            with ThreadPoolExecutor(1) as pool: print(pool.submit(square, 2).result())
        """)
        for name in ("pickle", "_compat_pickle", "copyreg2", "opcode", "mmap"):
            with open(os.path.join(target.directory, name + ".py"), "w") as file:
                file.write("print('%s was run')\n" % name)
        head = "import time\nfrom concurrent.futures import ThreadPoolExecutor\ndef square(x): return x\n"
        with open(target.program, "w") as file:
            file.write(head + "with ThreadPoolExecutor(1) as pool: print(pool.submit(square, 2).result())\n")
        self.assertEqual(target.run(agent=False), target.run())


class Named(Case):
    SOURCE = """
        import asyncio
        def fetch(x): spin(0.002); return [x] * 5
        def boom(x): raise KeyError(x)
        def tree(n): return 1 if n == 0 else tree(n - 1) + tree(n - 1)
        def numbers(n):
            for i in range(n): yield i
        async def wait(x): await asyncio.sleep(0.001); return x
        class Model:
            scale = 3
            def predict(self, x, /, y=1, *rest, k=2, **more): return (x * self.scale, y, rest, k, more)
            @classmethod
            def build(cls): return super().__new__(cls)
            @staticmethod
            def plain(x): return x
        def traced(function):
            @functools.wraps(function)
            def wrapper(*args): return function(*args)
            return wrapper
        @traced
        def first(x): return x
        @traced
        def second(x): return x
        def closing():
            offset = 10
            def inner(x): return x + offset
            return inner
        table = {"fetch": fetch}
        captured = functools.partial(fetch)
        if __name__ == "__main__":
            import pickle, inspect, traceback
            for i in range(10): table["fetch"](i)
            captured(3)
            for i in range(4):
                try: boom(i)
                except KeyError as error: print(error, error.__traceback__.tb_lineno)
            print(tree(3), list(numbers(4)), asyncio.run(wait(5)))
            model = Model.build()
            print(model.predict(2), model.predict(2, 3, 4, 5, k=6, z=7), Model.plain(3))
            print(first(1), first(2), second(3))
            print(pickle.loads(pickle.dumps(fetch)) is fetch, inspect.signature(Model.predict), inspect.signature(fetch))
            print(inspect.iscoroutinefunction(wait), inspect.isgeneratorfunction(numbers))
            try: model.predict()
            except TypeError as error: print(error)
    """
    STAGES = ["F=__main__:fetch", "boom=pipeline.boom", "tree=pipeline:tree", "numbers=__main__:numbers",
              "wait=pipeline:wait", "predict=pipeline:Model.predict", "build=pipeline:Model.build",
              "first=pipeline:first", "loads=json:loads", "sqrt=math:sqrt", "gone=pipeline:gone"]  # fmt: skip

    def test_direct_calls(self):
        run = self.measure(self.SOURCE, stages=self.STAGES)
        for name, tasks, failed in (("F", 11, 0), ("boom", 4, 4), ("tree", 1, 0), ("numbers", 1, 0), ("predict", 2, 0),
                                    ("build", 1, 0), ("first", 2, 0)):  # fmt: skip
            self.assertStage(run, name, "serial", tasks=tasks, failed=failed, what=3)
        self.assertStage(run, "wait", "asyncio", tasks=1)
        fetch = run.stages["F", "serial"]
        self.assertGreater(fetch["wall"] / fetch["timed"], 1.9e6)
        self.assertTrue(run.payloads("F", "serial", "arguments"))
        self.assertTrue(run.payloads("F", "serial", "result"))

    def test_imported(self):
        target = self.target("""
            import helper, math, json
            from helper import work
            print([work(i) for i in range(7)], helper.alias(2), math.sqrt(4), json.loads("[1]"))
        """)
        with open(os.path.join(target.directory, "helper.py"), "w") as file:
            file.write("def work(x): return x\ndef _impl(x): return x\nalias = _impl\nroot = len\n")
        stages = ["w=helper:work", "a=helper:alias", "r=helper:root", "s=math:sqrt", "j=json:loads", "n=nowhere:x"]
        bare, seen = target.run(agent=False), target.run(stages=stages)
        self.assertEqual(bare, seen)
        self.output = seen
        run = channel.Run(target.channel)
        self.assertStage(run, "w", "serial", tasks=7)
        self.assertStage(run, "a", "serial", tasks=1)
        self.assertStage(run, "j", "serial", tasks=1)
        self.assertEqual(len(self.codes(run, "stage-refused")), 2, run.notes)

    def test_two_names_of_one_function(self):
        run = self.measure("""
            def work(x): return x
            also = work
            print([work(i) for i in range(7)])
        """, stages=["w=__main__:work", "again=__main__:work", "also=__main__:also"])
        self.assertStage(run, "w", "serial", tasks=7)
        self.assertEqual({name for name, _ in run.stages}, {"w"})
        self.assertIn("counted as w", "".join(str(note) for note in self.codes(run, "stage-refused")))

    def test_pooled(self):
        run = self.measure("""
            def work(x): return x
            if __name__ == "__main__":
                with ThreadPoolExecutor(2) as pool: print(sum(pool.map(work, range(50))))
                with ProcessPoolExecutor(2) as pool: print(sum(pool.map(work, range(50))))
        """, stages=["W=__main__:work"])  # fmt: skip
        self.assertStage(run, "W", "thread", tasks=50)
        self.assertStage(run, "W", "process", tasks=50)
        self.assertEqual(set(run.stages), {("W", "thread"), ("W", "process")})

    def test_short_calls(self):
        run = self.measure("""
            def tiny(x): return x + 1
            def main():
                x = 0
                for i in range(400000): x = tiny(x)
                return x
            print(main())
        """, stages=["T=__main__:tiny"])  # fmt: skip
        stage = self.assertStage(run, "T", "serial", estimated=1)
        if sys.version_info >= (3, 12):
            self.assertTrue(100_000 < stage["tasks"] < 1_600_000, stage["tasks"])

    def test_module_that_runs_as_main(self):
        source = "def f(x): return x + 1\nprint(sum(f(i) for i in range(50)))\n"
        for module, file in (("package.inner", "inner.py"), ("package", "__main__.py")):
            with self.subTest(module=module):
                target = self.target("", head="")
                package = os.path.join(target.directory, "package")
                os.mkdir(package)
                for name, text in (("__init__.py", ""), (file, source)):
                    with open(os.path.join(package, name), "w") as out:
                        out.write(text)
                options = ("-m", module)
                bare = target.run(agent=False, options=options)
                self.output = target.run(options=options, stages=["Named=%s:f" % module])
                self.assertEqual(bare, self.output)
                run = channel.Run(target.channel)
                self.assertStage(run, "Named", "serial", tasks=50)
                self.assertEqual(self.codes(run, "stage-refused"), [])

    def test_module_that_is_imported_beside_itself(self):
        body = "def f(x): return x + 1\n%s\nif __name__ == '__main__':\n    import package.other\n"
        body += "    print(sum(f(i) for i in range(50)), package.other.go())\n"
        other = "%s\ndef go():\n    import package.inner\n    return sum(package.inner.f(i) for i in range(30))\n"
        cases = (
            ("later", "", body % "", other % ""),
            ("earlier", "", "import package.other\n" + body % "", other % "import package.inner"),
            ("by its package", "import package.inner\n", body % "", other % ""),
        )
        for case, init, inner, other in cases:
            with self.subTest(case=case):
                target = self.target("", head="")
                package = os.path.join(target.directory, "package")
                os.mkdir(package)
                for name, text in (("__init__.py", init), ("inner.py", inner), ("other.py", other)):
                    with open(os.path.join(package, name), "w") as out:
                        out.write(text)
                options = ("-m", "package.inner")
                bare = target.run(agent=False, options=options)
                self.output = target.run(options=options, stages=["Named=package.inner:f"])
                self.assertEqual(bare, self.output)
                run = channel.Run(target.channel)
                self.assertStage(run, "Named", "serial", tasks=80)
                self.assertEqual(self.codes(run, "stage-refused"), [])

    def test_package_whose_main_module_is_another_file(self):
        target = self.target("", head="")
        package = os.path.join(target.directory, "package")
        os.mkdir(package)
        main = "import sys\nfrom package import f\nprint(sum(f(i) for i in range(50)), sys.gettrace())\n"
        for name, text in (("__init__.py", "def f(x): return x + 1\n"), ("__main__.py", main)):
            with open(os.path.join(package, name), "w") as out:
                out.write(text)
        bare = target.run(agent=False, options=("-m", "package"))
        self.output = target.run(options=("-m", "package"), stages=["Named=package:f"])
        self.assertEqual(bare, self.output)
        run = channel.Run(target.channel)
        self.assertStage(run, "Named", "serial", tasks=50)
        self.assertEqual(self.codes(run, "stage-refused"), [])


class Marks(Case):
    def test_marks(self):
        source = """
            import poolpick, asyncio
            for i in range(5):
                with poolpick.stage("parse"): spin(0.001)
            @poolpick.stage("score")
            def score(x): return x
            @poolpick.stage("load")
            async def load(x):
                await asyncio.sleep(0.001); return x
            try:
                with poolpick.stage("parse"): fail(1)
            except ValueError: print("failed")
            print(score(3))
            async def main(): print(await asyncio.gather(load(1), load(2)))
            asyncio.run(main())
        """
        run = self.measure(source, path=[MARKS])
        self.assertStage(run, "parse", "serial", tasks=6, failed=1, what=2)
        self.assertStage(run, "score", "serial", tasks=1)
        self.assertStage(run, "load", "asyncio", tasks=2)


class Diagnosis(Case):
    def test_shared_state(self):
        run = self.measure("""
            CACHE, COUNT, SEEN, NAMES = {}, 0, set(), []
            class Config: level = 0
            def by_key(x): CACHE[x] = x
            def by_sum(x): CACHE["n"] = CACHE.get("n", 0) + x
            def by_inplace(x):
                CACHE.setdefault("k", 0)
                CACHE["k"] += x
            def by_global(x):
                global COUNT
                COUNT += x
            def by_method(x): SEEN.add(x)
            def helper(x): NAMES.append(x)
            def by_helper(x): helper(x)
            def by_attribute(x): Config.level = x
            def clean(x):
                own = dict(CACHE); own[x] = 1
                return len(NAMES), CACHE.get(x), [CACHE for _ in range(3)]
            with ThreadPoolExecutor(1) as pool:
                for function in (by_key, by_sum, by_inplace, by_global, by_method, by_helper, by_attribute, clean):
                    pool.submit(function, 1).result()
        """)
        found = {stage for stage, code, _ in run.notes if code == "shared-state"}
        self.assertEqual(found, {"pipeline." + name for name in (
            "by_key", "by_sum", "by_inplace", "by_global", "by_method", "by_helper", "by_attribute")})  # fmt: skip

    def test_a_lock_that_a_function_names(self):
        run = self.measure("""
            import threading
            LOCK, EVENT = threading.Lock(), threading.Event()
            class Box:
                def __init__(self): self.guard = threading.RLock()
                def guarded(self, x):
                    with self.guard: return x
                def free(self, x): return EVENT.is_set()
            def by_global(x):
                with LOCK: return x
            def around():
                slots = threading.BoundedSemaphore(2)
                def by_variable(x):
                    with slots: return x
                return by_variable
            box = Box()
            with ThreadPoolExecutor(1) as pool:
                for function in (by_global, around(), box.guarded, box.free, square):
                    pool.submit(function, 1).result()
        """)
        found = {stage: detail for stage, code, detail in run.notes if code == "lock-unseen"}
        self.assertEqual(found, {
            "pipeline.by_global": "global `LOCK`",
            "pipeline.around.<locals>.by_variable": "variable `slots`",
            "pipeline.Box.guarded": "attribute `guard`",
        })  # fmt: skip

    def test_opened_before_fork(self):
        run = self.measure("""
            import sqlite3
            CONNECTION = sqlite3.connect(":memory:")
            if __name__ == "__main__":
                with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
                    print(pool.submit(square, 2).result())
        """)
        self.assertEqual(len(self.codes(run, "opened-before-fork")), 1, run.notes)


class Renewed(Case):
    """Workers that a pool replaces: what they ran must not go with them."""

    def test_pool(self):
        for start in STARTS[:2]:
            run = self.measure("""
                if __name__ == "__main__":
                    with multiprocessing.get_context(sys.argv[1]).Pool(2, maxtasksperchild=1) as pool:
                        print(sum(pool.map(square, range(12), chunksize=1)))
            """, start)  # fmt: skip
            self.assertStage(run, "pipeline.square", "process", tasks=12, failed=0, workers=2, start=start)
            self.assertEqual(self.codes(run, "worker-killed") + self.codes(run, "broken-pool"), [])

    @unittest.skipIf(sys.version_info < (3, 11), "`max_tasks_per_child` came with 3.11")
    def test_executor(self):
        for start in STARTS[1:]:
            run = self.measure("""
                if __name__ == "__main__":
                    context = multiprocessing.get_context(sys.argv[1])
                    with ProcessPoolExecutor(2, mp_context=context, max_tasks_per_child=2) as pool:
                        # One after another: with tasks that wait, CPython's own pool hangs when it renews workers.
                        print([pool.submit(square, number).result() for number in range(6)])
            """, start)  # fmt: skip
            self.assertStage(run, "pipeline.square", "process", tasks=6, failed=0, workers=2, start=start)
            self.assertEqual(self.codes(run, "worker-killed") + self.codes(run, "broken-pool"), [])


class Interpreters(Case):
    # `concurrent.futures.thread` and `concurrent.futures.interpreter` in the shape of 3.14, as far as pools need it.
    THREAD = """
import queue, threading, weakref
from concurrent.futures import _base
class WorkerContext:
    def run(self, task):
        function, args, kwargs = task
        return function(*args, **kwargs)
class _WorkItem:
    def __init__(self, future, task): self.future, self.task = future, task
    def run(self, context):
        if not self.future.set_running_or_notify_cancel(): return
        try: result = context.run(self.task)
        except BaseException as error: self.future.set_exception(error)
        else: self.future.set_result(result)
def _worker(executor_reference, context, work_queue):
    while True:
        item = work_queue.get()
        if item is None: return work_queue.put(None)
        item.run(context)
        del item
class ThreadPoolExecutor(_base.Executor):
    def __init__(self, max_workers=None, thread_name_prefix="", initializer=None, initargs=()):
        self._max_workers, self._work_queue, self._threads = max_workers, queue.SimpleQueue(), set()
    def _resolve_work_item_task(self, fn, args, kwargs): return fn, args, kwargs
    def submit(self, fn, /, *args, **kwargs):
        f = _base.Future()
        w = _WorkItem(f, self._resolve_work_item_task(fn, args, kwargs))
        self._work_queue.put(w)
        if len(self._threads) < self._max_workers:
            t = threading.Thread(target=_worker, args=(weakref.ref(self), WorkerContext(), self._work_queue))
            t.start()
            self._threads.add(t)
        return f
    def shutdown(self, wait=True, *, cancel_futures=False):
        self._work_queue.put(None)
        for t in self._threads: t.join()
"""
    INTERPRETER = """
from . import thread as _thread
class InterpreterPoolExecutor(_thread.ThreadPoolExecutor): pass
"""

    def test_executor(self):
        target = self.target("""
            import sys
            if sys.version_info < (3, 14): sys.hexversion = 0x030E00F0
            from concurrent.futures.interpreter import InterpreterPoolExecutor
            from concurrent.futures.thread import ThreadPoolExecutor
            class Mine(InterpreterPoolExecutor): pass
            def square(x): return x * x
            def half(x): return x / 2
            def fail(x): raise ValueError(x)
            if __name__ == "__main__":
                with InterpreterPoolExecutor(2) as pool:
                    print(sum(pool.map(abs, range(100))), sum(pool.map(square, range(100))))
                    try: pool.submit(fail, 1).result()
                    except Exception as error: print(type(error).__name__)
                with Mine(3) as pool: print(pool.submit(half, 3).result())
                with ThreadPoolExecutor(2) as pool: print(sum(pool.map(square, range(10))))
        """, head="")  # fmt: skip
        if sys.version_info < (3, 14):
            # The script's folder comes first.
            package = os.path.join(target.directory, "concurrent")
            shutil.copytree(os.path.dirname(importlib.util.find_spec("concurrent").origin), package)
            for name, text in (("thread", self.THREAD), ("interpreter", self.INTERPRETER)):
                with open(os.path.join(package, "futures", name + ".py"), "w") as file:
                    file.write(text)
        bare, self.output = target.run(agent=False), target.run()
        self.assertEqual(bare, self.output)
        self.assertEqual(self.output[0], 0, self.output)
        run = channel.Run(target.channel)
        self.assertStage(run, "pipeline.square", "interpreter", tasks=100, failed=0, workers=2,
                         pool="concurrent.futures.InterpreterPoolExecutor")  # fmt: skip
        self.assertStage(run, "pipeline.fail", "interpreter", tasks=1, failed=1)
        self.assertStage(run, "pipeline.half", "interpreter", tasks=1, workers=3)
        self.assertStage(run, "pipeline.square", "thread", tasks=10, workers=2)

    def test_several(self):
        """Interpreters that a program makes itself, one after another and side by side, with pools in and beside them."""
        self.measure("""
            try: import _interpreters as interpreters
            except ImportError: import _xxsubinterpreters as interpreters
            inside = "from concurrent.futures import ThreadPoolExecutor as Pool\\nwith Pool(1) as pool: pool.submit(int).result()"
            made = [interpreters.create() for _ in range(3)]
            for number in made: interpreters.run_string(number, "sum(range(1000))")
            with ThreadPoolExecutor(3) as pool:
                plain = [pool.submit(interpreters.run_string, number, "sum(range(300000))") for number in made]
                print(sum(pool.map(square, range(50))), [future.exception() for future in plain])
            for number in made: interpreters.destroy(number)
            number = interpreters.create()
            try: print(interpreters.run_string(number, inside) and "refused")
            except Exception as error: print(type(error).__name__)
            interpreters.destroy(number)
        """)  # fmt: skip


class Hostile(Case):
    def test_many_forks_beside_a_pool(self):
        run = self.measure("""
            with ThreadPoolExecutor(2) as pool:
                print(sum(pool.map(square, range(100))))
                for number in range(5000):
                    pid = os.fork()
                    if not pid: os._exit(0)
                    os.waitpid(pid, 0)
                    if not number % 50: pool.submit(square, number)
                print(sum(pool.map(square, range(100))))
        """)
        self.assertStage(run, "pipeline.square", "thread", tasks=300, failed=0, workers=2, processes=1)
        self.assertLess(len(run.files), 4)

    def test_everything_taken_away(self):
        for start in STARTS:
            run = self.measure("""
                if __name__ == "__main__":
                    # What a pool loads late, so that it is in both tables of modules.
                    import concurrent.futures.process, multiprocessing.pool, multiprocessing.popen_spawn_posix
                    import multiprocessing.popen_fork, multiprocessing.popen_forkserver, multiprocessing.synchronize
                    context = multiprocessing.get_context(sys.argv[1])
                    for name in list(os.environ): del os.environ[name]
                    sys.modules = {name: module for name, module in sys.modules.items() if "poolpick" not in name}
                    os.chdir("/")
                    with ProcessPoolExecutor(2, mp_context=context) as pool: print(sum(pool.map(square, range(40))))
                    with context.Pool(2) as pool: print(sum(pool.map(square, range(40))))
                    with ThreadPoolExecutor(2) as pool: print(sum(pool.map(square, range(40))))
            """, start)  # fmt: skip
            self.assertStage(run, "pipeline.square", "thread", tasks=40, failed=0, workers=2)
            if start == "fork":
                self.assertStage(run, "pipeline.square", "process", tasks=80, failed=0, workers=2)

    def test_forks(self):
        run = self.measure("""
            for i in range(500):
                pid = os.fork()
                if not pid: os._exit(0)
                os.waitpid(pid, 0)
            with ThreadPoolExecutor(1) as pool:
                def forking(x):
                    pid = os.fork()
                    if not pid:
                        signal.alarm(1)  # The child goes on as a worker without a pool.
                        return x
                    os.waitpid(pid, 0)
                import signal
                pool.submit(forking, 1)
        """, same=False)  # fmt: skip
        self.assertEqual(self.output[0], 0)
        self.assertLess(len(run.files), 4)
        self.assertStage(run, "pipeline.forking", "thread", tasks=1)

    def test_fork_in_worker_with_tasks(self):
        run = self.measure("""
            if __name__ == "__main__":
                for i in range(20):
                    pid = os.fork()
                    if not pid:
                        with ThreadPoolExecutor(1) as pool: list(pool.map(square, range(5)))
                        os._exit(0)
                    os.waitpid(pid, 0)
        """)
        self.assertStage(run, "pipeline.square", "thread", tasks=100, processes=20)

    def test_tampering(self):
        run = self.measure("""
            from concurrent.futures import thread
            os.chdir("/")
            os.environ.clear()
            for name in list(sys.modules):
                if "poolpick" in name or name in ("mmap", "_pickle", "opcode"): sys.modules.pop(name, None)
            sys.meta_path[:] = sys.meta_path[-1:]
            with ThreadPoolExecutor(1) as pool: print(sum(pool.map(square, range(10))))
            sys.modules = dict(sys.modules)
            import colorsys
        """)
        self.assertStage(run, "pipeline.square", "thread", tasks=10)

    def test_patched(self):
        self.measure("""
            import concurrent.futures.thread as module
            class Item(module._WorkItem):
                def run(self, *rest): print("mine"); super().run(*rest)
            module._WorkItem = Item
            time.monotonic_ns = time.thread_time_ns = None
            with ThreadPoolExecutor(1) as pool: print(pool.submit(square, 3).result())
        """)

    def test_ring_wraps(self):
        run = self.measure("""
            with ThreadPoolExecutor(16) as pool:
                for i in range(6000): pool.submit(time.sleep, 0.005)
        """)
        self.assertStage(run, "time.sleep", "thread", tasks=6000)
        self.assertGreater(run.files[0].last, 4096)

    def test_shutdown(self):
        self.measure("""
            import atexit
            pool = ThreadPoolExecutor(2)
            for i in range(100): pool.submit(time.sleep, 0.0005)
            atexit.register(print, "bye")
            class Late:
                def __del__(self): print("late")
            late = Late()
            thread = threading.Thread(target=lambda: [time.sleep(0.01) for _ in range(1000)], daemon=True)
            thread.start()
        """)

    def test_tasks_that_do_not_end(self):
        run = self.measure("""
            import asyncio
            def hang(x): time.sleep(30)
            async def forever(): await asyncio.sleep(30)
            async def main():
                for _ in range(3): asyncio.ensure_future(forever())
                await asyncio.sleep(0.2)
                os._exit(0)
            pool = ThreadPoolExecutor(2)
            list(pool.map(square, range(2000)))
            for _ in range(5): pool.submit(hang, 1)
            asyncio.new_event_loop().run_until_complete(main())
        """)
        # Two of five began, whether or not the beginning of a task is timed.
        self.assertStage(run, "pipeline.hang", "thread", tasks=0, begun=2)
        self.assertStage(run, "pipeline.square", "thread", tasks=2000, begun=2000)
        self.assertStage(run, "pipeline.forever", "asyncio", tasks=0, begun=3)

    def test_alarm(self):
        """A signal's handler may raise in the middle of a hook: that is not the agent's to swallow."""
        self.measure("""
            import signal, poolpick
            class Alarm(Exception): pass
            def handler(*_): raise Alarm
            signal.signal(signal.SIGALRM, handler)
            def spin():
                signal.setitimer(signal.ITIMER_REAL, 0.005)
                end = time.monotonic() + 1
                while time.monotonic() < end:
                    with poolpick.stage("x"): pass
            caught = 0
            for i in range(50):
                # In a call: what is raised between two rounds of a loop in a `try` passes by its `except` on 3.13.0.
                try: spin()
                except Alarm: caught += 1
            print(caught)
        """, path=[MARKS])

    def test_no_channel(self):
        target = self.target("""
            with ThreadPoolExecutor(1) as pool: print(sum(pool.map(square, range(10))))
            print(sys.modules.get("sitecustomize"), [p for p in sys.path if "agent" in p])
            sys.stderr.write("to stderr"); sys.exit(5)
        """)
        bare = target.run(agent=False)
        readonly = os.path.join(target.directory, "readonly")
        os.mkdir(readonly, 0o500)
        for place in ("/nonexistent/channel", "relative", "", "/dev/null", "/proc", readonly, "\udcff/x"):
            self.assertEqual(bare, target.run(channel_path=place), place)

    def test_isolated(self):
        target = self.target("""
            with ThreadPoolExecutor(1) as pool: print(sum(pool.map(square, range(10))))
        """)
        for option in ("-S", "-E", "-I"):
            self.assertEqual(target.run(agent=False, options=[option]), target.run(options=[option]))
            self.assertEqual(channel.read(target.channel), [])


class Chaining(Case):
    PROGRAM = """
        module = sys.modules.get("sitecustomize")
        print(getattr(module, "__file__", None), getattr(module, "value", None), [p for p in sys.path if "agent" in p])
        with ThreadPoolExecutor(1) as pool: print(sum(pool.map(square, range(10))))
    """

    def chained(self, body):
        target = self.target(self.PROGRAM)
        other = os.path.join(target.directory, "other")
        os.mkdir(other)
        if body is not None:
            with open(os.path.join(other, "sitecustomize.py"), "w") as file:
                file.write(body)
        bare, seen = target.run(agent=False, path=[other]), target.run(path=[other])
        self.assertEqual(bare, seen)
        self.output = seen
        self.assertStage(channel.Run(target.channel), "pipeline.square", "thread", tasks=10)

    def test_other(self):
        self.chained("value = 7\nprint('site', __name__, __file__, __spec__.name)\n")

    def test_none(self):
        self.chained(None)

    def test_failing(self):
        self.chained("raise ValueError('no')\n")

    def test_import_error(self):
        self.chained("import nothing_of_that_name\n")


if __name__ == "__main__":
    unittest.main()
