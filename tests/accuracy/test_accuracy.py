"""Tests of the accuracy corpus, without poolpick: its stages run, and its grading says what it should on made-up data.

    python3 tests/accuracy/test_accuracy.py
"""
import collections
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = os.path.join(os.path.dirname(os.path.dirname(HERE)), "fixtures", "accuracy")
sys.path.insert(0, CORPUS)

import accuracy  # noqa: E402
import corpora  # noqa: E402
import flap  # noqa: E402
import grade  # noqa: E402
import page  # noqa: E402
import run  # noqa: E402
import section  # noqa: E402
import stages  # noqa: E402
import truth  # noqa: E402

# Items that take a moment instead of a second, for stages that are long on purpose.
SHORT = {"spin_1s": 1_000, "http_100ms": 0, "memory_heavy": 1 << 20}
UNPICKLABLE = {"unpicklable_items", "unpicklable_function"}


def lines(**cells):
    """Lines of `truth.jsonl` of a stage `s`: lines(serial_1=10, thread_2=(19, 20, 21))."""
    for name, value in cells.items():
        executor, workers = name.split("_")
        low, mean, high = value if isinstance(value, tuple) else (value, value, value)
        yield {"stage": "s", "executor": executor, "workers": int(workers), "mean": mean, "low": low, "high": high,
               "failed": None, "rounds": [mean]}


def true(**cells):
    return grade.truth_of(lines(**cells))["s"]


def report(executor, workers=2, name="stages.s", **more):
    """A report with one stage."""
    stage = {"kind": "function", "name": name, "class": "cpu-bound", "score": 0.9, "verdict": "fits",
             "verdict_reason": None, "tasks": {"count": 5}, "rule": {"executor": "process"}, "predictions": [],
             "recommendation": {"executor": executor, "workers": workers, "confidence": "high",
                                "reasons": [{"code": "gil-bound", "text": "…"}]}}
    stage.update(more)
    return {"stages": [{"kind": "process", "name": "run.py"}, stage]}


class Stages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = run.start_server()

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()
        cls.server.wait()

    def test_each_runs_once_and_its_items_are_made_alike_each_time(self):
        for name, stage in corpora.ALL.items():
            with self.subTest(name):
                if stage.lacks():
                    print("skipped {}: {}".format(name, stage.lacks()))
                    continue
                items = stage.items()
                self.assertGreaterEqual(len(items), 4)
                if stage.loops:
                    run.on_a_loop(stage.function, items[0])
                else:
                    stage.function(SHORT.get(name, items[0]))
                if name not in UNPICKLABLE and not stage.needs:
                    self.assertEqual(pickle.dumps(items), pickle.dumps(stage.items()))

    def test_each_is_found_by_its_name_and_described_in_a_line(self):
        self.assertEqual(len(corpora.ALL), sum(len(corpus.stages) for corpus in corpora.CORPORA.values()))
        for name, stage in corpora.ALL.items():
            with self.subTest(name):
                self.assertIs(getattr(sys.modules[stage.function.__module__], name), stage.function)
                self.assertEqual(stage.name, name)
                self.assertRegex(stage.description, r"^\S.{6,110}\.$")
                self.assertEqual(stage.function.__doc__.strip(), stage.description)

    def test_those_that_cannot_be_pickled_are_those_that_say_so(self):
        refused = set()
        for name, stage in corpora.ALL.items():
            if stage.lacks():
                continue
            try:
                pickle.dumps((stage.function, stage.items()[0]))
            except (pickle.PicklingError, AttributeError, TypeError):
                refused.add(name)
        self.assertEqual(refused, UNPICKLABLE)

    def test_a_stage_that_lacks_a_module_says_which(self):
        self.assertEqual(stages.Stage(len, list, (2,), (2,), ("no_such_module",)).lacks(), "no module `no_such_module`")
        self.assertIsNone(stages.STAGES["tiny"].lacks())

    def test_the_same_stage_gives_the_same_answer_under_every_executor(self):
        stage = stages.STAGES["python_loop"]
        for mode in ("thread", "process"):
            with run.POOLS[mode](2) as executor:
                answers = list(executor.map(stage.function, [1_000, 2_000]))
            self.assertEqual(answers, [stages.spin(1_000), stages.spin(2_000)])


class Running(unittest.TestCase):
    def run_stage(self, *arguments):
        program = os.path.join(CORPUS, "run.py")
        return subprocess.run([sys.executable, program] + list(arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              universal_newlines=True)

    def test_it_tells_the_throughput_of_each_mode(self):
        for mode in grade.MODES:
            ended = self.run_stage("spin_100us", mode, "2", "0.05")
            self.assertEqual(ended.returncode, 0, ended.stderr)
            told = json.loads(ended.stdout)
            self.assertEqual((told["stage"], told["executor"], told["workers"]), ("spin_100us", mode, 2))
            self.assertGreater(told["tasks_per_second"], 0)

    def test_what_cannot_be_pickled_fails_in_processes_alone(self):
        for name in sorted(UNPICKLABLE):
            self.assertEqual(self.run_stage(name, "thread", "2", "0.01").returncode, 0)
            ended = self.run_stage(name, "process", "2", "0.01")
            self.assertEqual(ended.returncode, 1)
            self.assertIn("pickle", json.loads(ended.stdout)["failed"].lower().replace("get local", "pickle"))

    def test_an_unknown_stage_is_misuse(self):
        ended = self.run_stage("no_such_stage", "thread")
        self.assertEqual(ended.returncode, 2)
        self.assertIn("no stage `no_such_stage`", ended.stderr)

    def test_every_worker_gets_as_many_tasks_as_the_others(self):
        done = []
        with run.ThreadPoolExecutor(3) as executor:
            rate = run.pooled(done.append, [1, 2, 3, 4], executor, 3, 0.01)
        self.assertEqual(len(done) % 3, 0)
        self.assertGreater(rate, 0)


class Measuring(unittest.TestCase):
    def test_the_interval_is_that_of_student(self):
        mean, low, high = truth.interval([9.0, 10.0, 11.0])
        self.assertAlmostEqual(mean, 10)
        self.assertAlmostEqual(high - mean, 4.303 / 3 ** 0.5)
        self.assertAlmostEqual(mean - low, high - mean)
        self.assertEqual(truth.interval([5.0]), (5.0, None, None))
        self.assertEqual(truth.interval([0.0, 1.0, 0.0])[1], 0.0)

    def test_a_child_answers_fails_or_is_given_up(self):
        self.assertEqual(truth.in_child(lambda: 1.5, 60), (1.5, None))
        self.assertEqual(truth.in_child(lambda: [][0], 60), (None, "IndexError: list index out of range"))
        self.assertEqual(truth.in_child(lambda: os._exit(0), 60), (None, "the child died"))
        reader, _writer = os.pipe()
        self.assertEqual(truth.in_child(lambda: os.read(reader, 1), 0.1), (None, "it took more than 0 s"))

    def test_a_stage_becomes_one_line_a_cell(self):
        stage = stages.STAGES["unpicklable_items"]
        measured = truth.measure(stage, 2, 0.01)
        told = list(truth.lines(stage, measured, "2026-01-02"))
        self.assertEqual([(line["executor"], line["workers"]) for line in told], truth.cells(stage))
        for line in told:
            self.assertEqual(len(line["rounds"]), 0 if line["executor"] == "process" else 2)
            self.assertEqual(line["failed"] is None, line["executor"] != "process")
            self.assertEqual(line["date"], "2026-01-02")
            self.assertLessEqual(line["low"], line["mean"])
        self.assertEqual(sorted(json.loads(json.dumps(told[0]["host"]))), ["cores", "cpu", "machine", "system"])

    def test_the_file_keeps_other_stages_when_appended_to(self):
        with tempfile.TemporaryDirectory() as directory:
            output = os.path.join(directory, "truth.jsonl")
            with open(output, "w") as file:
                file.write('{"stage": "other"}\n{"stage": "tiny", "old": 1}\n')
            subprocess.run([sys.executable, os.path.join(CORPUS, "truth.py"), "--rounds", "1", "--seconds", "0.01",
                            "--append", "--output", output, "tiny"], check=True, stderr=subprocess.DEVNULL)
            with open(output) as file:
                told = [json.loads(line) for line in file]
        count = collections.Counter(line["stage"] for line in told)
        self.assertEqual(count, {"other": 1, "tiny": len(truth.cells(stages.STAGES["tiny"]))})
        self.assertFalse(any("old" in line for line in told))


class Grading(unittest.TestCase):
    def test_between_two_measured_numbers_of_workers_it_interpolates(self):
        stage = true(serial_1=10, thread_2=20, thread_4=30, process_2=4)
        cases = [("thread", 2, (20, True)), ("thread", 3, (25, True)), ("thread", 9, (30, False)),
                 ("thread", 1, (10, False)), ("process", 1, (4, False)), ("serial", 1, (10, True))]
        for executor, workers, expected in cases:
            self.assertEqual(grade.at(stage, executor, workers), expected, (executor, workers))

    def test_regret_is_the_share_of_the_best(self):
        stage = true(serial_1=10, thread_2=16, process_2=20, process_4=18)
        cases = [(("process", 2), 1.0), (("process", 3), 0.95), (("thread", 2), 0.8), (("serial", 1), 0.5)]
        for pick, expected in cases:
            self.assertAlmostEqual(grade.regret(stage, grade.Pick(*pick)), expected)
        self.assertIsNone(grade.regret(stage, grade.Pick("asyncio", 1)))
        self.assertIsNone(grade.regret(stage, None))

    def test_the_best_of_equals_is_the_simpler(self):
        self.assertEqual(grade.best(true(serial_1=10, thread_2=10, thread_4=10))[0], ("serial", 1))
        self.assertEqual(grade.best(true(serial_1=1, thread_4=10, thread_2=10, process_2=10)), (("thread", 2), 10))

    def test_a_miss_is_clear_where_the_intervals_are_apart(self):
        apart = true(serial_1=(9, 10, 11), process_2=(19, 20, 21))
        touching = true(serial_1=(9, 10, 18.1), process_2=(19, 20, 21))
        once = grade.truth_of([dict(line, low=None, high=None) for line in lines(serial_1=10, process_2=20)])["s"]
        for stage, expected in [(apart, True), (touching, False), (once, False)]:
            self.assertEqual(grade.clearly_worse(stage, grade.Pick("serial", 1)), expected)

    def test_the_error_of_a_speedup_is_relative_and_needs_truth_there(self):
        stage = true(serial_1=10, thread_2=20, thread_4=30, process_2=0)
        told = [("thread", 2, 2.2, 0.1), ("thread", 3, 2.0, -0.2), ("thread", 64, 9.0, None), ("serial", 1, 1.0, None),
                ("asyncio", 1, 5.0, None), ("process", 2, 2.0, None)]
        for executor, workers, speedup, expected in told:
            error = grade.speedup_error(stage, {"executor": executor, "workers": workers, "speedup": speedup})
            if expected is None:
                self.assertIsNone(error, executor)
            else:
                self.assertAlmostEqual(error, expected)

    def test_quantiles_are_values_that_were_seen(self):
        self.assertIsNone(grade.quantile([], 0.5))
        cases = [([3], 0.9, 3), ([4, 1, 3, 2], 0.5, 2), (range(1, 11), 0.9, 9), ([1, 2], 1.0, 2)]
        for values, share, expected in cases:
            self.assertEqual(grade.quantile(values, share), expected)

    def test_a_stage_is_found_by_its_last_word_among_functions(self):
        both = report("thread")
        both["stages"].append(dict(both["stages"][1], name="other.s", tasks={"count": 50}, score=0.1))
        self.assertEqual(grade.find_stage(both, "s")["score"], 0.1)
        self.assertEqual(grade.find_stage(report("thread", name="s"), "s")["name"], "s")
        self.assertIsNone(grade.find_stage(report("thread", name="stages.xs"), "s"))
        self.assertIsNone(grade.find_stage(report("thread"), "run.py"))

    def test_a_line_holds_the_pick_its_regret_and_that_of_the_rule(self):
        stage = true(serial_1=10, thread_2=20, process_2=5, process_4=8)
        told = [{"executor": "thread", "workers": 2, "speedup": 1.8}]
        line = grade.grade("s", "serial", report("thread", predictions=told), stage)
        self.assertEqual((line["pick"], line["regret"], line["clear"]), (["thread", 2], 1.0, False))
        self.assertEqual((line["rule"], line["rule_regret"]), (["process", 4], 0.4))
        self.assertAlmostEqual(line["predictions"][0]["error"], -0.1)
        self.assertIsNone(line["why"])

    def test_what_cannot_be_graded_says_why(self):
        stage = true(serial_1=10, thread_2=20)
        unjudged = report(None, recommendation=None, verdict="not-judged", verdict_reason="too short")
        for told, known, why in [(None, stage, "the stage is not in the report"), (unjudged, stage, "too short"),
                                 (report("asyncio"), stage, "no truth was measured of asyncio"),
                                 (report("thread"), None, "no truth was measured")]:
            line = grade.grade("s", "thread", told, known)
            self.assertIsNone(line["regret"])
            self.assertEqual(line["why"], why)

    def test_modes_that_disagree_are_found(self):
        stage = true(serial_1=10, thread_2=20, process_2=20)
        seen = [grade.grade("s", "serial", report("thread"), stage),
                grade.grade("s", "thread", report("thread"), stage),
                grade.grade("s", "process", report("process", **{"class": "hybrid"}), stage)]
        classes = {"serial": "cpu-bound", "thread": "cpu-bound", "process": "hybrid"}
        self.assertEqual(grade.disagreements(seen), {"s": classes})
        picks = {"serial": "thread", "thread": "thread", "process": "process"}
        self.assertEqual(grade.pick_disagreements(seen), {"s": picks})
        self.assertEqual(grade.disagreements(seen[:2]), {})

    def test_noise_is_the_spread_of_rounds(self):
        lines = [{"rounds": [10, 10], "mean": 10}, {"rounds": [9, 11], "mean": 10}, {"rounds": [], "mean": 0.0}]
        usual, most = grade.noise(lines)
        self.assertEqual(usual, 0.0)
        self.assertAlmostEqual(most, 2 ** 0.5 / 10)
        self.assertEqual(grade.noise([]), (None, None))

    def test_the_sum_counts_what_is_right(self):
        stage = true(serial_1=10, thread_2=20, process_2=19.5)
        told = [{"executor": "thread", "workers": 2, "speedup": 2.2},
                {"executor": "process", "workers": 2, "speedup": 1.95}]
        seen = [grade.grade("s", mode, report(pick, predictions=told), stage)
                for mode, pick in zip(grade.MODES, ("thread", "process", "serial"))]
        found = grade.summary(seen)
        self.assertEqual((found["runs"], found["stages"], found["graded"], found["right"]), (3, 1, 3, 2))
        self.assertEqual((found["clear_misses"], found["regret_worst"], found["rule_right"]), (1, 0.5, 3))
        self.assertAlmostEqual(found["error_p90"], 0.1)
        self.assertEqual((found["errors"], found["picked_errors"]), (6, 2))
        self.assertIsNone(grade.summary([])["regret_mean"])


class Page(unittest.TestCase):
    FACTS = {"stages": 1, "rounds": 3, "seconds": 2, "version": "poolpick 9", "beside": "idle",
             "truth_host": "a machine", "noise": "the rounds of a cell differ by 1 %"}

    def test_it_names_misses_and_what_was_not_graded(self):
        known = {"s": true(serial_1=10, thread_2=20, process_2=5)}
        seen = [grade.grade("s", "serial", report("serial", 1), known["s"]),
                grade.grade("s", "thread", report("thread"), known["s"]), grade.grade("s", "process", None, known["s"])]
        text = page.render(seen, known, {"s": "Does s."}, self.FACTS)
        self.assertIn("| s | no pool | no pool | threads ×2 | 0.50 | yes | gil-bound |", text)
        self.assertIn("- s, in processes: the stage is not in the report", text)
        self.assertIn("| at least 0.95 of the best | 1 (50 %) | 0 (0 %) |", text)
        self.assertIn("| clear misses | 1 | 2 |", text)
        self.assertIn("| s | Does s. | threads ×2 | 2.00× |", text)
        self.assertIn("| s | executor | serial | thread | – |", text)

    def test_it_renders_where_nothing_was_missed_or_graded(self):
        known = {"s": true(serial_1=10, thread_2=20)}
        text = page.render([grade.grade("s", "thread", report("thread"), known["s"])], known, {}, self.FACTS)
        self.assertIn("## Misses\n\nNone.\n", text)
        self.assertNotIn("## Not graded", text)
        self.assertIn("| picks graded | 0 | 0 |", page.render([], {}, {}, dict(self.FACTS, stages=0)))

    def test_the_second_corpus_has_a_section_that_either_generator_keeps(self):
        known = {"s": true(serial_1=10, thread_2=20)}
        seen = [grade.grade("s", "thread", report("thread"), known["s"])]
        first = page.render(seen, known, {}, self.FACTS, ["## The gate, 2 times", "", "It flaps."])
        self.assertEqual(page.second_of(first), [])
        both = page.with_second(first, page.second(seen, known, {"s": "Does s."}, self.FACTS))
        self.assertEqual(both.count(page.SECOND_HEADING), 1)
        self.assertLess(both.index("### In sum"), both.index("## The gate"))
        self.assertEqual(both, page.with_second(both, page.second_of(both)))
        gate = ["## The gate, 2 times", "", "It flaps."]
        self.assertEqual(both, page.render(seen, known, {}, self.FACTS, page.second_of(both) + gate))

    def test_the_commands_are_those_that_a_user_would_type(self):
        stage = stages.STAGES["http_20ms"]
        line = accuracy.command("poolpick", stage, "serial", 2.0, "x")
        self.assertIn("--stage http_20ms=stages:http_20ms --", accuracy.typed(line))
        self.assertNotIn("json=", accuracy.typed(line))
        self.assertEqual(accuracy.command("poolpick", stage, "thread", 2.0, "x")[-2:], ["8", "2.0"])
        self.assertEqual(accuracy.command("poolpick", stages.STAGES["tiny"], "process", 2.0, "x")[-2:], ["2", "2.0"])
        line = accuracy.command("poolpick", corpora.ALL["fractions_sum"], "serial", 2.0, "x")
        self.assertIn("fractions_sum=second:fractions_sum", line)
        line = accuracy.command("poolpick", corpora.ALL["aio_sleep_10ms"], "asyncio", 2.0, "x")
        self.assertEqual(line[-4:], ["aio_sleep_10ms", "asyncio", "8", "2.0"])


class Gate(unittest.TestCase):
    MANIFEST = ("# right: fits\n[stages.a]\n\n"
                "# Slow.\n# right: misrouted\n# right under quota: fits or undecided\n[stages.b]\n")

    def run_of(self, condition, a, b, status=1):
        return {"condition": condition, "date": "2026-01-02T03:04:05Z", "host": {"cores": 2, "python": "3.11.7"},
                "status": status, "hogs": 4, "quota": 0.5, "seconds": 9.5, "stages": {"a": a, "b": b}, "why": None,
                "poolpick": {"version": "9", "sha256": "0"}, "perf": 2, "measured": 2}

    def test_what_is_right_stands_above_each_stage_of_the_example(self):
        right = section.right_of(self.MANIFEST)
        self.assertEqual(right["a"]["idle"], ("fits",))
        self.assertEqual((right["b"]["hogs"], right["b"]["quota"]), (("misrouted",), ("fits", "undecided")))
        for wrong in ["[stages.a]\n", "# right: fitting\n[stages.a]\n"]:
            self.assertRaises(ValueError, section.right_of, wrong)
        with open(section.MANIFEST) as file:
            declared = [line for line in file if line.startswith("[stages.")]
        self.assertEqual(len(section.read_right()), len(declared))
        self.assertEqual([section.right_status(section.read_right(), c) for c in section.CONDITIONS], [1] * 4)
        self.assertEqual([section.right_status({"a": right["a"]}, c) for c in ("idle", "quota")], [0, 0])
        self.assertEqual([section.right_status(right, c) for c in ("idle", "quota")], [1, 0])

    def test_what_is_wrong_is_called_by_its_name(self):
        right = section.right_of(self.MANIFEST)
        cases = [("idle", "fits", "misrouted", []), ("idle", "misrouted", "fits", ["false failure", "missed"]),
                 ("idle", "undecided", "failed", ["undecided", "no verdict"]), ("quota", "fits", "undecided", []),
                 ("quota", "fits", "misrouted", ["false failure"]), ("hogs", "fits", "not-judged", ["not-judged"])]
        for condition, a, b, expected in cases:
            seen = section.flaws(self.run_of(condition, a, b), right)
            self.assertEqual([what for _, what in seen], expected, (condition, a, b))

    def test_the_section_counts_outcomes_and_either_generator_keeps_it(self):
        right = section.right_of(self.MANIFEST)
        seen = [self.run_of("idle", "fits", "misrouted"), self.run_of("idle", "misrouted", "misrouted"),
                self.run_of("quota", "fits", "fits", 0),
                dict(self.run_of("quota", "fits", "fits", 2), stages={}, seconds=None, perf=None, measured=None)]
        told = section.render(seen, right)
        self.assertEqual(told[0], "## The gate, 2 times")
        self.assertIn("| with nothing beside it | 2 | 1 | 0 | 0 | 0 | 2 | 10 | used |", told)
        self.assertIn("| with 0.5 cores by quota | 2 | 0 | 0 | 0 | 1 | 1 | 10 | used |", told)
        self.assertIn("| a | fits | 1 fits, **1 misrouted** | 1 fits |", told)
        self.assertEqual(section.render([], right), [])
        page_text = page.render([], {}, {}, Page.FACTS, told)
        self.assertTrue(page_text.endswith("\n".join(told).rstrip("\n") + "\n"))
        again = section.replaced(page_text, section.render(seen[:1], right))
        self.assertEqual(again.count("## The gate, "), 1)
        self.assertIn("## The gate, 1 times", again)
        self.assertEqual(section.replaced(again, told), page_text)
        self.assertEqual(section.replaced(page.render([], {}, {}, Page.FACTS), told), page_text)

    def test_whether_perf_was_in_use_is_told_of_each_condition(self):
        one = self.run_of("idle", "fits", "misrouted")
        cases = [([2, 2], "used"), ([0, 0], "not used"), ([2, 0], "used in 1"), ([2, 1], "used in 1, partly in 1"),
                 ([], "–")]
        for used, expected in cases:
            self.assertEqual(section.perf([dict(one, perf=number) for number in used]), expected)
        found = [{"kind": kind, "context_switches": {"voluntary": number}}
                 for kind, number in (("function", 0), ("function", 7), ("function", None), ("process", 9))]
        self.assertEqual(flap.use_of_perf({"stages": found}), (2, 3))

    def test_the_wrong_twins_of_the_example_differ_in_the_executor_alone(self):
        right = section.read_right()
        twins = {"verify-processes": "verify", "enrich-threads": "enrich", "score-threads": "score",
                 "parse-threads": "parse"}
        with open(section.MANIFEST) as file:
            said = {text.split("]")[0]: text.split("]", 1)[1].split("\n\n")[0].strip().splitlines()
                    for text in file.read().split("[stages.")[1:]}
        for wrong, twin in twins.items():
            self.assertEqual((right[wrong]["idle"], right[twin]["idle"]), (("misrouted",), ("fits",)))
            differing = [(a, b) for a, b in zip(said[wrong], said[twin]) if a != b]
            self.assertEqual([a.split(" = ")[0] for a, _ in differing], ["executor"], wrong)

    def test_a_program_that_cannot_be_run_stops_it(self):
        with tempfile.TemporaryDirectory() as directory:
            script = os.path.join(directory, "script")
            with open(script, "w") as file:
                file.write("#!/bin/sh\necho no such thing\nexit 1\n")
            os.chmod(script, 0o755)
            for program in (os.path.join(directory, "none"), script, section.MANIFEST):
                output = os.path.join(directory, "lines")
                line = [sys.executable, flap.__file__, "--poolpick", program, "--output", output, "--times", "1"]
                ended = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                self.assertEqual(ended.returncode, 2, ended.stderr)
                self.assertIn(b"poolpick cannot be run", ended.stderr)
                self.assertFalse(os.path.exists(output))

    def test_runs_of_another_build_are_not_added_to(self):
        with tempfile.TemporaryDirectory() as directory:
            program, output = os.path.join(directory, "poolpick"), os.path.join(directory, "lines")
            with open(program, "w") as file:
                file.write("#!/bin/sh\necho poolpick 9\n")
            os.chmod(program, 0o755)
            line = [sys.executable, flap.__file__, "--poolpick", program, "--output", output, "--times", "1",
                    "--conditions", "idle"]
            first = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertEqual(first.returncode, 1, first.stderr)
            self.assertEqual(len(section.read_lines(output)), 1)
            with open(program, "a") as file:
                file.write("true\n")
            other = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertEqual(other.returncode, 2, other.stderr)
            self.assertIn(b"1 runs of another build", other.stderr)
            again = subprocess.run(line + ["--again"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertEqual(again.returncode, 1, again.stderr)
            self.assertEqual(len(section.read_lines(output)), 1)

    def test_what_it_started_ends_with_it_however_it_ends(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL):
            with tempfile.TemporaryDirectory() as directory:
                program, told = os.path.join(directory, "poolpick"), os.path.join(directory, "told")
                with open(program, "w") as file:
                    file.write("#!/bin/sh\n[ $1 = --version ] && echo poolpick 9 && exit\n"
                               "echo $$ >{0}.part && mv {0}.part {0} && exec sleep 600\n".format(told))
                os.chmod(program, 0o755)
                line = [sys.executable, flap.__file__, "--poolpick", program, "--times", "1", "--conditions", "hogs",
                        "--hogs", "2", "--output", os.path.join(directory, "lines")]
                running = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                try:
                    self.until(lambda: os.path.exists(told))
                    with open(told) as file:
                        gate = int(file.read())
                    hogs = [pid for pid in self.children(running.pid) if pid != gate]
                    self.assertEqual(len(hogs), 2)
                finally:
                    running.send_signal(number)
                    running.wait()
                    if number == signal.SIGKILL:
                        os.kill(gate, signal.SIGKILL)
                self.until(lambda: not any(self.runs(pid) for pid in hogs + [gate]))

    def until(self, holds):
        for _ in range(1200):
            if holds():
                return
            time.sleep(0.05)
        self.fail("it did not come to that within a minute")

    @staticmethod
    def children(pid):
        with open("/proc/{0}/task/{0}/children".format(pid)) as file:
            return [int(word) for word in file.read().split()]

    @staticmethod
    def runs(pid):
        try:
            with open("/proc/{}/stat".format(pid)) as file:
                return file.read().rsplit(")", 1)[1].split()[0] != "Z"
        except OSError:
            return False

    def test_each_stage_of_the_example_runs(self):
        program = os.path.join(os.path.dirname(section.MANIFEST), "work.py")
        with open(section.MANIFEST) as file:
            commands = [json.loads(line[len("command = "):]) for line in file if line.startswith("command = ")]
        self.assertEqual(len(commands), len(section.read_right()))
        for words in commands:
            self.assertEqual(words[:2], ["python3", "work.py"])
            ended = subprocess.run([sys.executable, program] + words[2:] + ["2"], stderr=subprocess.PIPE)
            self.assertEqual((ended.returncode, ended.stderr), (0, b""), words)


if __name__ == "__main__":
    unittest.main()
