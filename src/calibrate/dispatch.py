"""Times what dispatch costs on this interpreter and prints one JSON line. Python 3.8 and later, standard library only.

Every process that it starts ends by itself after LIFE_SECONDS, whatever it hangs in: an alarm is not inherited by a fork,
so each worker sets its own.
"""

import asyncio
import json
import multiprocessing
import os
import platform
import signal
import sys
import threading
import time
from concurrent import futures

LIFE_SECONDS = 8
WORKERS = 2
IN_FLIGHT = 2 * WORKERS
LEAST_ROUNDS = 3
# A task that keeps a worker busy for about as long as the handing out of several.
BUSY_SECONDS = 0.0005
# Turns of an empty loop that holds the lock.
HELD = 600
# Run-queue delay of all threads over wall time.
UNDISTURBED = 0.2
MEBIBYTE = bytes(range(256)) * 4096
clock = time.perf_counter


def limit_life():
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    signal.alarm(LIFE_SECONDS)


def middle(samples):
    return sorted(samples)[len(samples) // 2]


def median(samples):
    value = middle(samples)
    return {"value": value, "deviation": middle([abs(sample - value) for sample in samples])}


def delay(pids):
    """Seconds that the threads of these processes were runnable without a CPU; 0 where the kernel does not tell."""
    nanos = 0
    for pid in pids:
        try:
            for thread in os.listdir("/proc/%s/task" % pid):
                with open("/proc/%s/task/%s/schedstat" % (pid, thread)) as file:
                    nanos += int(file.read().split()[1])
        except (OSError, ValueError, IndexError):
            pass
    return nanos / 1e9


def calmer(samples):
    """Of (delay, wall, sample), the samples that others left alone; where there are too few of these, the calmest quarter.

    Threads that hand the lock or a task to one another are runnable for a moment by themselves, so a little delay is no
    disturbance: leaving it out would favour rounds in which nothing is handed over.
    """
    calm = [sample for late, wall, sample in samples if late < UNDISTURBED * wall]
    if len(calm) >= LEAST_ROUNDS and len(calm) * 3 >= len(samples):
        return calm
    ranked = sorted(samples, key=lambda sample: sample[0] / sample[1])
    return [sample for _, _, sample in ranked[: max(LEAST_ROUNDS, len(samples) // 4)]]


def rounds(run, seconds, least=LEAST_ROUNDS, pids=("self",)):
    """What `run` gave, each time anew, for so long; rounds in which others had the CPUs are left out, if not all are so."""
    samples, end = [], clock() + seconds
    while len(samples) < least or clock() < end:
        before, began = delay(pids), clock()
        sample = run()
        wall = clock() - began
        samples.append((delay(pids) - before, wall, sample))
    return calmer(samples)


def medians(names, samples):
    """One median for each name, of the columns."""
    return dict(zip(names, map(median, zip(*samples))))


def nothing(_=None):
    return None


def give(_):
    return MEBIBYTE


def spin(turns):
    for _ in range(turns):
        pass


def turns_of(seconds):
    """Turns of the empty loop that take so long."""
    turns, quickest = 10000, None
    for _ in range(5):
        began = time.thread_time()
        spin(turns)
        took = time.thread_time() - began
        quickest = took if quickest is None else min(quickest, took)
    return max(int(turns * seconds / max(quickest, 1e-6)), 1)


def saturate(pool, task, argument, count):
    """Tasks handed out as they are taken back: a bounded number in flight, none of the workers ever without one."""
    pending = set()
    for _ in range(count):
        while len(pending) >= IN_FLIGHT:
            finished, pending = futures.wait(pending, return_when=futures.FIRST_COMPLETED)
            for future in finished:
                future.result()
        pending.add(pool.submit(task, argument))
    for future in pending:
        future.result()


def cpu_of(pid):
    """CPU seconds of another process: the kernel's clock id for it, as clock_getcpuclockid(3) makes it."""
    return time.clock_gettime(~pid << 3 | 2)


def processes():
    """The parent's and the workers' CPU, and the wall, of a trivial task, and of a byte in and a byte out; and for how long
    a worker stands idle between two tasks, though others wait: what the wall is longer than its share of the work.
    """
    turns = turns_of(BUSY_SECONDS)
    context = multiprocessing.get_context("fork")
    with futures.ProcessPoolExecutor(WORKERS, mp_context=context, initializer=limit_life) as pool:
        while len(pool._processes) < WORKERS:
            list(pool.map(time.sleep, [0.002] * IN_FLIGHT))
        workers = list(pool._processes)

        def cost(task, argument, count):
            wall, parent, theirs = clock(), time.process_time(), sum(map(cpu_of, workers))
            saturate(pool, task, argument, count)
            return (
                (time.process_time() - parent) / count,
                (sum(map(cpu_of, workers)) - theirs) / count,
                (clock() - wall) / count,
            )

        cost(nothing, None, 50)
        cost(len, MEBIBYTE, IN_FLIGHT)
        cost(give, None, IN_FLIGHT)

        def one_round():
            trivial = cost(nothing, None, 80)
            taken = cost(len, MEBIBYTE, 8)
            given = cost(give, None, 8)
            more = [(side[i] - trivial[i]) / len(MEBIBYTE) for side in (taken, given) for i in (0, 1, 2)]
            _, worked, wall = cost(spin, turns, 40)
            return trivial + tuple(more) + (max(WORKERS * wall - worked, 1e-9),)

        names = (
            "process_task_parent",
            "process_task_worker",
            "process_task_wall",
            "process_byte_parent",
            "process_byte_worker",
            "process_byte_wall",
            "process_result_byte_parent",
            "process_result_byte_worker",
            "process_result_byte_wall",
            "process_task_idle",
        )
        return medians(names, rounds(one_round, 0.3, pids=["self"] + workers))


def threads():
    with futures.ThreadPoolExecutor(WORKERS) as pool:
        saturate(pool, nothing, None, 100)

        def one_round():
            wall, cpu = clock(), time.process_time()
            saturate(pool, nothing, None, 100)
            return (clock() - wall) / 100, (time.process_time() - cpu) / 100

        return medians(("thread_task", "thread_task_cpu"), rounds(one_round, 0.06))


def interpreters():
    with futures.InterpreterPoolExecutor(WORKERS) as pool:
        saturate(pool, abs, 1, 20)

        def one_round():
            wall = clock()
            saturate(pool, abs, 1, 50)
            return (clock() - wall) / 50

        return median(rounds(one_round, 0.06))


def coroutines():
    """CPU time, which is the wall time of a loop that never waits, and is not disturbed by others."""

    async def step():
        await asyncio.sleep(0)

    async def many():
        await asyncio.gather(*[asyncio.ensure_future(step()) for _ in range(200)])

    async def all_rounds():
        await many()
        samples, end = [], clock() + 0.04
        while len(samples) < LEAST_ROUNDS or clock() < end:
            began = time.thread_time()
            await many()
            samples.append((time.thread_time() - began) / 200)
        return samples

    return {"asyncio_step": median(asyncio.run(all_rounds()))}


def handover():
    """What a release of the lock costs once another thread wants it.

    A turn holds the lock for some ten microseconds and then makes a C call that releases it for a run of about one. Alone, a
    turn takes hold + run, and as the run can be told (what the same call takes more for more bytes, with the lock released
    both times), so can the hold. Two threads that do nothing else keep the lock wanted all the time, so that of their turns
    one comes after another, and what a turn then takes above the hold is the price of the release: waking who waits, and
    the time until the lock is held again, by whichever of the two. The hold is longer than a wake-up takes; else most
    releases would find the waiter still waking, and be cheap.
    """
    import zlib

    # The lock is released above 5 KiB.
    short, long, crc = bytes(6 << 10), bytes(36 << 10), zlib.crc32

    def turns(buffer, count):
        began = time.thread_time()
        for _ in range(count):
            for _ in range(HELD):
                pass
            crc(buffer)
        return (time.thread_time() - began) / count

    def until(end, done):
        count = 0
        while not count or clock() < end:
            turns(short, 5)
            count += 5
        # The thread has lived for nothing else.
        done.append((count, own_delay()))

    def own_delay():
        try:
            with open("/proc/thread-self/schedstat") as file:
                return int(file.read().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            return 0.0

    def together(seconds):
        done = []
        began = clock()
        crowd = [threading.Thread(target=until, args=(began + seconds, done), daemon=True) for _ in range(2)]
        for one in crowd:
            one.start()
        for one in crowd:
            one.join()
        counts, delays = zip(*done)
        wall = clock() - began
        return sum(delays), wall, wall / sum(counts)

    turns(long, 20)
    samples, end = [], clock() + 0.2
    while len(samples) < LEAST_ROUNDS or clock() < end:
        turn = turns(short, 100)
        per_byte = (turns(long, 100) - turn) / (len(long) - len(short))
        run = min(max(per_byte, 0.0) * len(short), turn)
        late, wall, crowded = together(0.006)
        samples.append((late, wall, crowded - (turn - run)))
    return median(calmer(samples))


def start_of(method, seconds=0.0):
    """Seconds from nothing to the first result of a pool of one."""

    def one_start():
        began = clock()
        context = multiprocessing.get_context(method)
        with futures.ProcessPoolExecutor(1, context, signal.alarm, (LIFE_SECONDS,)) as pool:
            pool.submit(abs, 1).result()
            return clock() - began

    return lambda: median(rounds(one_start, seconds, 1))


def burn():
    """CPU time over wall time of a loop that wants nothing but a CPU."""
    wall, cpu = clock(), time.thread_time()
    while clock() < wall + 0.01:
        pass
    return (time.thread_time() - cpu) / (clock() - wall)


def machine_seconds():
    """CPU seconds of everybody since the boot; None where it cannot be read."""
    try:
        with open("/proc/stat") as file:
            words = file.readline().split()
        ticks = [int(word) for word in words[1:9]]
        return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def own_seconds():
    return sum(os.times()[:4])


def main():
    limit_life()
    began, machine, own, burnt = clock(), machine_seconds(), own_seconds(), burn()
    has_lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    answer = {
        "free_threaded": not has_lock,
        "switch_interval": sys.getswitchinterval(),
        "machine_cores": os.cpu_count() or 1,
        "version": "%s %s" % (platform.python_implementation(), platform.python_version()),
    }
    answer.update(threads())
    answer.update(coroutines())
    answer.update(processes())
    optional, unmeasured = {"worker_start_fork": start_of("fork", 0.05)}, {}
    if has_lock:
        optional["gil_handover"] = handover
    for method in set(multiprocessing.get_all_start_methods()) & {"spawn", "forkserver"}:
        optional["worker_start_" + method] = start_of(method)
    if hasattr(futures, "InterpreterPoolExecutor"):
        optional["interpreter_task"] = interpreters
    for name, measure in optional.items():
        try:
            answer[name] = measure()
            if answer[name]["value"] <= 0.0:
                raise ValueError("it was too small to be told")
        except Exception as error:
            answer[name], unmeasured[name] = None, "%s: %s" % (type(error).__name__, error)
    answer["unmeasured"] = unmeasured
    answer["burn_cpu_share"] = min(burnt, burn())
    after, seconds = machine_seconds(), clock() - began
    known = machine is not None and after is not None
    answer["others_cores"] = max(after - machine - own_seconds() + own, 0.0) / seconds if known else None
    answer["seconds"] = seconds
    print(json.dumps(answer))


main()
