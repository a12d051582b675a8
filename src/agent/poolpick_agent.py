"""poolpick's agent: tells from inside a Python process which function its executors run, how often and for how long.

What it tells is written to memory that poolpick shares (docs/agent-channel.md). Its rules, in order:

1. The target never notices. Nothing is raised into it, nothing is printed, no result, order, exception or pickle
   changes, no module is imported before the target imports it, no thread is started, nothing is left on its stacks if
   that can be avoided. Whatever goes wrong in here ends in `_foreign`, and data is dropped.
2. Every task is counted; timing backs off by its own measured cost.
3. Where a thing cannot be known, nothing is written; poolpick knows how to say "unknown".

The parts: the channel (memory, counters, records), stages and their names, payloads, pacing, then one section for each
way of running a function: threads, processes, `multiprocessing.Pool`, asyncio, functions named by `--stage`, marks.
No name in here keeps the module object itself: so its globals outlive it, and hooks that run while the interpreter
shuts down still find what they need.
"""

import sys
import posix
import _thread
import _functools
import _weakref
from _collections import deque
from itertools import accumulate, chain, count, repeat
from time import monotonic_ns as clock
from _struct import Struct
from mmap import mmap as _mmap

# A clock that some kernels and builds lack; then there is no CPU time.
try:
    from time import thread_time_ns as cpu_clock

    cpu_clock()
except Exception:
    cpu_clock = None

FunctionType = type(lambda: 0)
CodeType = type((lambda: 0).__code__)
MethodType = type(type("_", (), {"f": lambda self: 0})().f)
ModuleType = type(sys)
partial = _functools.partial
get_native_id = getattr(_thread, "get_native_id", lambda: 0)

# --------------------------------------------------------------------------------------------------------------------
# The channel
# --------------------------------------------------------------------------------------------------------------------

SIZE = 262144
STAGES = 127
SLOT_AT, SLOT_SIZE = 64, 128
DEFINITIONS_AT, DEFINITIONS_SIZE = 0x4000, 49152
RING_AT, RING_PLACES, RECORD_SIZE = 0x10000, 4096, 48
MASK = 0xFFFFFFFF

BEGIN, END, COROUTINE, QUEUE, ARGUMENTS, RESULT, STALL = 1, 2, 3, 4, 5, 6, 7
FAILED, CANCELLED, NO_BEGIN, SLICE, EXTRAPOLATED, SKIPPED = 1, 2, 4, 8, 16, 32

UNKNOWN, SERIAL, THREAD, PROCESS, INTERPRETER, ASYNCIO = 0, 1, 2, 3, 4, 5
FUNCTION, COROUTINE_STAGE, MARK, NAMED = 0, 1, 2, 3

_pack_record = Struct("<IBBHIIQQQII").pack_into
_pack_signed = Struct("<q").pack_into
_pack_u32 = Struct("<I").pack_into
_pack_two = Struct("<II").pack_into
_pack_two_signed = Struct("<qq").pack_into


class _State:
    """What belongs to this process alone. A forked child starts with a new one, empty, and without a file."""

    def __init__(self, directory, forked):
        self.directory = directory
        self.forked = forked
        self.memory = None
        self.unusable = directory is None
        self.file = None  # (descriptor, device, inode) of what mmap holds open, where it holds it open
        self.threads = _thread._local()
        self.stages = {}
        self.codes = {}  # id of a coroutine's code -> (code, stage)
        self.by_id = [None] * 8  # for each executor: id of a function -> (weak reference, stage)
        for executor in range(8):
            self.by_id[executor] = {}
        self.ids = count()
        self.definitions = deque()
        self.defined = 0
        self.highest = -1
        self.lock = _thread.allocate_lock()
        self.noted = set()
        self.waiting = {}  # a process pool's work: id of its kwargs -> (stage, when it was submitted, queue length)
        self.tasks = {}  # id of an asyncio task -> _Coroutine
        self.ready = {}  # id of a handle -> when it became ready
        self.late = 0  # how long the timer that runs now has been due

    def usable(self):
        return self.memory is not None or (not self.unusable and self.open())

    def open(self):
        """Makes the process's file. Called again after a failure it does nothing: what failed once costs no more."""
        if not self.lock.acquire(False):
            return False
        try:
            if self.memory is None and not self.unusable:
                self.unusable = True
                self.map()
                self.unusable = False
        except Exception as error:
            if _foreign(error):
                raise
        finally:
            self.lock.release()
        return self.memory is not None

    def map(self):
        name = "%s/%d.%s" % (self.directory, posix.getpid(), posix.urandom(4).hex())
        descriptor = posix.open(name, posix.O_RDWR | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600)
        try:
            try:
                posix.posix_fallocate(descriptor, 0, SIZE)
                if sys.hexversion >= 0x030D0000:
                    memory = _mmap(descriptor, SIZE, trackfd=False)
                else:
                    memory = self.map_high(descriptor)
            except BaseException:
                posix.unlink(name)
                raise
        finally:
            posix.close(descriptor)
        began = clock()
        flags = 2 if self.forked else 0
        if not getattr(sys, "_is_gil_enabled", lambda: True)():
            flags |= 1
        Struct("<8xIIQII").pack_into(memory, 0, 1, posix.getpid(), began, sys.hexversion & MASK, flags)
        self.sequence = count(1).__next__
        # Counts the records that are written, not those begun: a reader that goes by it meets none half-written.
        self.written = map(_pack_signed, repeat(memory), repeat(40), count(1)).__next__
        self.dropped = map(_pack_signed, repeat(memory), repeat(48), count(1)).__next__
        self.cost_feed, self.cost_step = _adder(memory, 56)
        memory[0:8] = b"PPAGENT1"
        self.memory = memory

    def map_high(self, descriptor):
        """Before 3.13, mmap keeps a descriptor of its own, the lowest that is free. The target's first file would get
        another number than without us, so the low ones are taken for a moment."""
        held = []
        try:
            try:
                while len(held) < 64 and (not held or held[-1] < 64):
                    held.append(posix.dup(descriptor))
            except OSError:
                pass  # Few descriptors are allowed: then ours is a low one.
            if held:
                # What stands highest is handed on to mmap.
                own = held.pop()
                posix.close(own)
            memory = _mmap(descriptor, SIZE)
            if held:
                status = posix.fstat(own)
                self.file = (own, status.st_dev, status.st_ino)
        finally:
            for number in held:
                posix.close(number)
        return memory

    def forget(self):
        """In a forked child: lets go of the parent's memory, so that a hook that was under way cannot write there."""
        memory, self.memory, self.unusable = self.memory, None, True
        if memory is None:
            return
        if self.file is not None:
            # The target may have closed the descriptor that mmap holds and opened another in its place.
            try:
                status = posix.fstat(self.file[0])
                ours = (status.st_dev, status.st_ino) == self.file[1:]
            except OSError:
                ours = False
            if not ours:
                _kept.append(memory)
                return
        memory.close()


_kept = []


def _adder(memory, at):
    """Adds to a number in shared memory, exactly, from any thread, without a lock: feed(n), then step().

    Each of the two is one call into C, during which no other thread runs; whoever steps takes one number that was fed."""
    feed = deque()
    return feed.append, map(_pack_signed, repeat(memory), repeat(at), accumulate(iter(feed.popleft, None))).__next__


def _counter(memory, at):
    """Counts up a number in shared memory, in one call."""
    return map(_pack_signed, repeat(memory), repeat(at), count(1)).__next__


def _record(kind, flags, stage, thread, x, when, a, b, y):
    state = _state
    number = state.sequence()
    _pack_record(
        state.memory,
        RING_AT + RECORD_SIZE * ((number - 1) & (RING_PLACES - 1)),
        number & MASK,
        kind,
        flags,
        stage,
        thread,
        x if x <= MASK else MASK,
        when,
        a,
        b,
        y if y <= MASK else MASK,
        number & MASK,
    )
    state.written()


def _text(text):
    data = text.encode("utf-8", "backslashreplace")[:1000]
    return Struct("<H").pack(len(data)) + data


def _define(kind, body):
    state = _state
    data = Struct("<HHI").pack(kind, 0, len(body)) + body + b"\0" * (-len(body) % 4)
    state.definitions.append(data)
    # Whoever holds the lock writes for all, and looks again after letting go: nobody waits.
    while state.definitions and state.lock.acquire(False):
        try:
            while state.definitions:
                data = state.definitions.popleft()
                end = state.defined + len(data)
                if end > DEFINITIONS_SIZE:
                    state.dropped()
                    continue
                at = DEFINITIONS_AT + state.defined
                state.memory[at : at + len(data)] = data
                state.defined = end
                _pack_two(state.memory, 32, end, state.highest + 1)
        finally:
            state.lock.release()


def _note(code, detail, stage=None):
    """Tells poolpick something in words, once."""
    state = _state
    number = 0xFFFF if stage is None else stage.number
    key = (code, number, detail)
    if key in state.noted or len(state.noted) >= 200 or not state.usable():
        return
    state.noted.add(key)
    _define(2, Struct("<HH").pack(number, 0) + _text(code) + _text(_short(detail)))


def _foreign(error):
    """Whether an exception that was met in here is not ours to swallow: a signal's handler may run, and raise, anywhere."""
    try:
        trace = error.__traceback__
        codes = []
        while trace is not None:
            codes.append(trace.tb_frame.f_code)
            trace = trace.tb_next
        if all(code.co_filename == _own_file for code in codes):
            return False
        signal = sys.modules.get("_signal")
        if signal is None:
            return False
        for number in range(1, 65):
            try:
                handler = signal.getsignal(number)
            except Exception:
                continue
            code = getattr(getattr(handler, "__func__", handler), "__code__", None)
            if code is not None and code in codes:
                return True
    except Exception:
        pass
    return False


_own_file = _foreign.__code__.co_filename

# --------------------------------------------------------------------------------------------------------------------
# Stages and their names
# --------------------------------------------------------------------------------------------------------------------


class _Stage:
    """A function under an executor, its counters, and how its timing is paced."""

    __slots__ = (
        "number", "name", "module", "file", "line", "what", "executor", "workers", "pool", "start", "function",
        "done_feed", "done_step", "failed", "feeds", "submitted", "begun", "submitted_n", "begun_n", "depth_at",
        "peak", "lost_feed", "lost_step", "cancelled", "state", "under_feed", "under_step",
        "tasks", "ended", "timed", "wall", "credit", "pay_next", "pay_spent", "pay_stop", "checked", "cost", "__weakref__",
    )  # fmt: skip

    def __init__(self, number, name, module, file, line, what, executor):
        state = _state
        memory = state.memory
        at = SLOT_AT + SLOT_SIZE * number
        self.state = state
        self.number, self.name, self.module, self.file, self.line = number, name, module, file, line
        self.what, self.executor, self.workers, self.pool, self.start = what, executor, 0, "", ""
        self.done_feed, self.done_step = _adder(memory, at)
        self.failed = _counter(memory, at + 8)
        self.feeds = [_adder(memory, at + 8 * index) for index in range(2, 8)]
        self.depth_at = at + 64
        self.under_feed, self.under_step = _adder(memory, at + 88)
        self.lost_feed, self.lost_step = _adder(memory, at + 80)
        self.cancelled = _counter(memory, at + 104)
        self.submitted, self.begun = count(1).__next__, count(1).__next__
        self.submitted_n = self.begun_n = self.peak = 0
        self.tasks = self.timed = self.wall = 0
        self.credit = 700
        self.ended = count(1).__next__
        self.pay_next, self.pay_spent, self.pay_stop = 0, 0, False
        self.checked = False
        self.function = None
        self.cost = 5000

    def define(self):
        body = Struct("<HBBII").pack(self.number, self.what, self.executor, self.workers & MASK, self.line & MASK)
        for text in (self.name, self.module, self.file, self.pool, self.start):
            body += _text(text)
        if self.number > self.state.highest:
            self.state.highest = self.number
        _define(1, body)

    def pooled(self, pool, workers, start):
        """Says in which pool it runs, again if that turns out different."""
        if (pool, workers, start) != (self.pool, self.workers, self.start):
            self.pool, self.workers, self.start = pool, workers, start
            self.define()


def _short(text, limit=200):
    text = str(text)
    return text if len(text) <= limit else text[: limit - 1] + "\u2026"


def _main_name():
    """What `__main__` is called by a person: the script's stem, or the module's name after `-m`."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    name = getattr(spec, "name", None)
    # A worker of loky is a program of its own, with the arguments of the one that it works for.
    worker = isinstance(name, str) and name.endswith("loky.backend.popen_loky_posix")
    if name and not worker and name not in ("__main__", "__mp_main__"):
        return name[:-9] if name.endswith(".__main__") else name
    file = getattr(main, "__file__", None)
    if worker or not isinstance(file, str):
        # Not begun yet: what is about to run stands in the arguments.
        arguments = getattr(sys, "argv", None) or [""]
        file = arguments[0]
        if not isinstance(file, str) or file in ("", "-", "-c", "-m"):
            return "__main__"
    stem = file.rpartition("/")[2]
    if stem == "__main__.py":
        stem = file.rpartition("/")[0].rpartition("/")[2]
    return (stem[:-3] if stem.endswith(".py") else stem) or "__main__"


def _module_name(module):
    if module in ("__main__", "__mp_main__"):
        return _main_name()
    return module if isinstance(module, str) and module else ""


def _static(thing, name, default=None):
    """An attribute of a user's object that is read without running the user's code."""
    try:
        found = object.__getattribute__(thing, name)
    except Exception:
        return default
    return found


def _undecorated(function):
    """The function that a person wrote, below `functools.wraps` and the like."""
    for _ in range(32):
        inner = None
        if type(function) is FunctionType:
            inner = function.__dict__.get("__wrapped__")
        elif type(function) is not type and type(function) is not MethodType:
            # `functools.lru_cache` and other callable objects keep it in their dictionary.
            own = _static(function, "__dict__")
            if type(own) is dict:
                inner = own.get("__wrapped__")
        if inner is None or not callable(inner):
            return function
        function = inner
    return function


def _identity(function):
    """(module, qualified name, file, line) of something callable."""
    function = _undecorated(function)
    if isinstance(function, partial):
        return _identity(function.func)
    kind = type(function)
    if kind is MethodType:
        return _identity(function.__func__)
    if kind is FunctionType:
        code = function.__code__
        module = function.__module__ or function.__globals__.get("__name__")
        return _module_name(module), function.__qualname__, code.co_filename, code.co_firstlineno
    if isinstance(function, type):
        return _module_name(type.__getattribute__(function, "__module__")), function.__qualname__, "", 0
    qualified = _static(function, "__qualname__")
    if isinstance(qualified, str):
        # Functions and methods written in C, Cython's functions.
        module = _static(function, "__module__")
        if not isinstance(module, str):
            owner = _static(function, "__objclass__")
            if owner is None:
                bound = _static(function, "__self__")
                owner = bound if isinstance(bound, type) else type(bound)
            module = getattr(owner, "__module__", "")
        code = _static(function, "__code__")
        if type(code) is CodeType:
            return _module_name(module), qualified, code.co_filename, code.co_firstlineno
        return _module_name(module), qualified, "", 0
    # An object that can be called: a person looks for its class.
    call = None
    for base in kind.__mro__:
        call = base.__dict__.get("__call__")
        if call is not None:
            break
    code = getattr(call, "__code__", None)
    place = (code.co_filename, code.co_firstlineno) if type(code) is CodeType else ("", 0)
    return (_module_name(kind.__module__), kind.__qualname__) + place


def _join(module, qualified):
    return _short(module + "." + qualified if module else qualified)


def _stage(name, module, file, line, what, executor, function=None, owner=None):
    state = _state
    key = (name, module, executor)
    stage = state.stages.get(key)
    if stage is not None:
        return stage
    if not state.usable():
        return None
    number = STAGES - 1 if len(state.stages) >= STAGES - 1 else next(state.ids)
    if number >= STAGES - 1:
        number, name, module, file, line, executor = STAGES - 1, "other functions", "", "", 0, UNKNOWN
        key = None
        stage = state.stages.get(key)
        if stage is not None:
            return stage
    made = _Stage(number, name, module, file if isinstance(file, str) else "", line or 0, what, executor)
    stage = state.stages.setdefault(key, made)
    if stage is made:
        stage.define()
        try:
            if type(function) is FunctionType:
                stage.function = _weakref.ref(function)
                _study(stage, function)
                _locked(stage, function, owner)
        except Exception as error:
            if _foreign(error):
                raise
    return stage


def _stage_of(function, executor):
    """The stage of a function that was handed to an executor, or None."""
    state = _state
    known = state.by_id[executor]
    kind = type(function)
    target = function.__func__ if kind is MethodType else function
    entry = known.get(id(target))
    if entry is not None and entry[0]() is target:
        return entry[1]
    module, qualified, file, line = _identity(target)
    name = _join(module, qualified)
    what = FUNCTION
    named = _wanted_name(module, qualified)
    if named is not None:
        name, what = named, NAMED
    owner = function.__self__ if kind is MethodType else None
    stage = _stage(name, module, file, line, what, executor, target, owner)
    if stage is not None:
        try:
            reference = _weakref.ref(target)
        except TypeError:
            return stage
        if len(known) > 2000:
            known.clear()  # Functions that are made for one call each; kept, they would be a leak.
        known[id(target)] = (reference, stage)
    return stage


# Wrappers that pools and joblib put around the user's function, by the name of their type.
_WRAPPERS = {
    "SafeFunction": "func",
    "_TracebackCapturingWrapper": "func",
    "CloudpickledObjectWrapper": "_obj",
    "CloudpickledCallableWrapper": "_obj",
}


def _unwrap(function, args, kwargs):
    """(function, args, kwargs, tasks): what the user handed in, out of what the pool made of it.

    Of a chunk, the arguments of its middle element stand for all."""
    tasks = 1
    for _ in range(16):
        kind = type(function)
        if kind is FunctionType:
            name = function.__name__
            if name == "_process_chunk" and len(args) == 2:
                function, chunk = args
                tasks = len(chunk)
                args = tuple(chunk[tasks // 2]) if tasks else ()
                continue
            if name in ("mapstar", "starmapstar") and len(args) == 1 and function.__module__ == "multiprocessing.pool":
                function, chunk = args[0]
                tasks = len(chunk)
                args = () if not tasks else (chunk[tasks // 2],) if name == "mapstar" else tuple(chunk[tasks // 2])
                continue
            break
        if isinstance(function, partial):
            args = function.args + tuple(args)
            if function.keywords:
                kwargs = dict(function.keywords, **kwargs)
            function = function.func
            continue
        if kind is _BuiltinMethod and args and type(function.__self__).__name__ == "Context" and function.__name__ == "run":
            function, args = args[0], args[1:]  # asyncio.to_thread
            continue
        if kind is MethodType:
            break
        if kind.__name__ in _WRAPPERS:
            inner = _static(function, _WRAPPERS[kind.__name__])
            if inner is not None:
                function = inner
                continue
        if kind.__name__ == "BatchedCalls":
            items = _static(function, "items")
            if items:
                tasks = len(items)
                function, args, kwargs = items[tasks // 2]
                continue
        break
    return function, args, kwargs, tasks


_BuiltinMethod = type([].append)
_CHUNKS = ("_process_chunk", "mapstar", "starmapstar")

# --------------------------------------------------------------------------------------------------------------------
# Pacing and timing
# --------------------------------------------------------------------------------------------------------------------

# Timing may take this part of a stage's time; counting comes on top.
TIMING_SHARE = 0.006
# What handing a task to a pool costs besides: it is part of the stage's time too.
DISPATCH = 10_000
# What it costs to count a task that is not timed. For the header's account only.
COUNTING = 700


class _Thread:
    __slots__ = ("number", "lanes", "future", "stage", "pool", "direct", "depth", "token", "failed")

    def __init__(self):
        self.number = get_native_id() & MASK
        self.lanes = {}
        self.future = self.stage = self.pool = self.direct = self.token = None
        self.depth = {}
        self.failed = False


class _Lane:
    """One stage on one thread: how many tasks to let pass before the next one is timed."""

    __slots__ = ("left", "passed", "wall", "jitter")

    def __init__(self):
        self.left = self.passed = 0
        self.wall = -1
        self.jitter = 12345


def _me():
    threads = _state.threads
    try:
        return threads.me
    except AttributeError:
        me = threads.me = _Thread()
        return me


def _lane_of(me, stage):
    lane = me.lanes.get(stage)
    if lane is None:
        lane = me.lanes[stage] = _Lane()
    return lane


def _begin(me, stage, lane, entered, queued, depth, tasks, flags):
    """Writes that a timed task begins. `entered` is when the hook did, `queued` its time in the queue or -1."""
    passed = lane.passed
    if passed:
        flags |= SKIPPED
    feeds = stage.feeds
    if queued >= 0:
        feed, step = feeds[4]
        feed(tasks)
        step()
        feed, step = feeds[5]
        feed(queued)
        step()
    now = clock()
    _record(BEGIN, flags, stage.number, me.number, depth + 1, now, queued + 1, 0, tasks)
    cpu = cpu_clock() if cpu_clock is not None else 0
    start = clock()
    return (stage, lane, me, start - entered, cpu, tasks, flags & SLICE, start)


def _end(token, flags):
    stop = clock()
    stage, lane, me, spent, cpu, tasks, slice, start = token
    wall = stop - start
    feeds = stage.feeds
    if cpu_clock is not None:
        cpu = cpu_clock() - cpu
        _record(END, flags | slice, stage.number, me.number, 0, stop, cpu + 1, wall, tasks)
        if not slice:
            feed, step = feeds[2]
            feed(tasks)
            step()
            feed, step = feeds[3]
            feed(cpu)
            step()
    else:
        _record(END, flags | slice, stage.number, me.number, 0, stop, 0, wall, tasks)
    if not slice:
        feed, step = feeds[0]
        feed(tasks)
        step()
        feed, step = feeds[1]
        feed(wall)
        step()
        stage.timed += tasks
        stage.wall += wall
    # How many to let pass now: the cost of timing over what it may cost in a task like this one.
    mean = lane.wall
    mean = lane.wall = wall if mean < 0 else mean + (wall - mean) // 4
    spent += clock() - stop
    if spent > 30_000:
        spent = 30_000  # Somebody else ran in between.
    stage.cost += (spent - stage.cost) // 8
    left = int(stage.cost / (TIMING_SHARE * (mean + (DISPATCH if stage.executor != SERIAL else 200))))
    if left:
        lane.jitter = jitter = (lane.jitter * 1103515245 + 12345) & 0x7FFFFFFF
        left += (left * (jitter >> 16) >> 16) - (left >> 2)  # So that no rhythm of the tasks is met each time.
        if left > 2000:
            left = 2000
    state = stage.state
    state.cost_feed(spent + COUNTING * lane.passed)
    state.cost_step()
    lane.left, lane.passed = left, 0


# --------------------------------------------------------------------------------------------------------------------
# Payloads: what a process pool has, or would have, to move
# --------------------------------------------------------------------------------------------------------------------

PAYLOAD_SHARE = 100  # one part in so many of a stage's time
PAYLOAD_BYTES = 64 << 20
PAYLOAD_TIME = 150_000_000
LOOP_TIME = 15_000_000  # The same on an event loop, where nobody else gets on meanwhile.
LOOP_FREE = 200_000  # So much a stage may cost there before any of its coroutines has ended.
AGAIN_TIME = 100_000  # What is pickled within this is timed three times, and the least counts.
FLAT = 1 << 20  # Pieces of this size are weighed, not copied.


# Pickling takes CPU time; whoever else had the core meanwhile is no part of its price.
pay_clock = cpu_clock or clock


class _Veto(Exception):
    """Pickling this could do something."""


class _Refusal(Exception):
    """This cannot be pickled."""


class _Enough(Exception):
    pass


class _Scale:
    """A file that weighs what is written to it, and keeps what is small."""

    __slots__ = ("parts", "bytes", "copying", "flat", "until")

    def __init__(self, until):
        self.parts, self.bytes, self.copying, self.flat, self.until = [], 0, 0, False, until

    def write(self, data):
        if type(data) is not bytes:
            data = memoryview(data).cast("B")
        size = len(data)
        self.bytes += size
        if size >= FLAT:
            # Pickle hands large flat data over as they are. What a copy would take is known from a part.
            part = memoryview(data)[: 2 * FLAT]
            began = pay_clock()
            bytes(part)
            self.copying += (pay_clock() - began) * size // len(part)
            self.flat = True
        else:
            self.parts.append(bytes(data))
        if self.bytes > PAYLOAD_BYTES and not self.flat or clock() > self.until:
            raise _Enough
        return size


_verdicts = {}
_sizers = None
# Types whose pickles open, share or hand over something, though they come with Python.
_GUARDED = ("multiprocessing", "socket", "_socket", "ssl", "_ssl", "_io", "io", "_multiprocessing", "ctypes", "_ctypes",
            "tempfile", "_posixshmem", "asyncio", "concurrent", "subprocess", "sqlite3", "weakref", "mmap")  # fmt: skip
_TRUSTED = ("numpy", "pandas", "pyarrow")
_SPECIAL = ("__reduce__", "__reduce_ex__", "__getstate__", "__getnewargs__", "__getnewargs_ex__", "__getattr__",
            "__getattribute__", "__class__")  # fmt: skip
_ITERATED = ("__iter__", "items", "keys", "__len__", "__getitem__")
_REBUILT = ("__setstate__", "__new__", "__init__", "__setattr__", "__setitem__", "append", "extend", "add", "__hash__",
            "__eq__", "update")  # fmt: skip
_library = None


def _from_library(module):
    """Whether a module came with Python: then its way of pickling has no surprises."""
    global _library
    if not isinstance(module, str):
        return False
    top = module.partition(".")[0]
    if top in ("builtins", "copyreg"):
        return True
    names = getattr(sys, "stdlib_module_names", None)
    if names is not None and top not in names or top in ("test", "__main__", "__mp_main__"):
        return False  # Python's own tests pickle what no other module would.
    if _library is None:
        _library = (posix_file(sys.modules.get("os")) or "").rpartition("/")[0]
        if not _library and names is not None:
            _library = "/"
    found = sys.modules.get(top)
    file = posix_file(found)
    if file is None:
        return found is not None and getattr(getattr(found, "__spec__", None), "origin", None) in ("built-in", "frozen")
    return bool(_library) and file.startswith(_library + "/") and "-packages/" not in file[len(_library) :]


def posix_file(module):
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) else None


def _origin(found, owner):
    """The module in which something that a class defines was written."""
    function = getattr(found, "__func__", found)
    code = getattr(function, "__code__", None)
    if type(code) is CodeType:
        return function.__globals__.get("__name__") if type(function) is FunctionType else None
    return owner.__module__


def _judge(kind):
    """(may be pickled: reason why not or None, may be unpickled) for a type."""
    verdict = _verdicts.get(kind)
    if verdict is None:
        if len(_verdicts) > 5000:
            _verdicts.clear()
        verdict = _verdicts[kind] = _examine(kind)
    return verdict


def _examine(kind):
    name = "%s.%s" % (kind.__module__, kind.__qualname__)
    reduction = sys.modules.get("multiprocessing.reduction")
    if reduction is not None:
        extra = getattr(getattr(reduction, "ForkingPickler", None), "_extra_reducers", {})
        own = extra.get(kind)
        if own is not None and kind not in (MethodType, partial, type(list.append), type(int.__add__)):
            return "`%s` has a reducer of its own" % name, False
    copyreg = sys.modules.get("copyreg")
    own = getattr(copyreg, "dispatch_table", {}).get(kind)
    if own is not None:
        if not _from_library(getattr(own, "__module__", None)):
            return "`%s` has a reducer of its own" % name, False
        return None, True
    rebuild = True
    for base in kind.__mro__:
        if base is object:
            break
        module = base.__module__
        top = module.partition(".")[0] if isinstance(module, str) else ""
        if _from_library(module):
            if top in _GUARDED:
                return "`%s` stands for a resource" % name, False
            continue
        if top in _TRUSTED:
            continue
        own = base.__dict__
        for special in _SPECIAL:
            if special in own:
                origin = _origin(own[special], base)
                if not _from_library(origin) and (origin or "").partition(".")[0] not in _TRUSTED:
                    return "`%s` defines `%s`" % (name, special), False
        for special in _ITERATED:
            if special in own and issubclass(kind, (dict, list, set, frozenset, tuple)):
                return "`%s` defines `%s`" % (name, special), False
        for special in _REBUILT:
            if special in own and not (special == "__init__" and not issubclass(kind, BaseException)):
                if not _from_library(_origin(own[special], base)):
                    rebuild = False  # Unpickling would run it.
        if not base.__flags__ & 0x200:
            return "`%s` is an extension's type" % name, False  # Not made by a class statement.
    return None, rebuild


def _pickling():
    """The two picklers, made when first needed. None where pickle is not Python's own."""
    global _sizers
    if _sizers is None:
        _sizers = ()
        # A file of the target's that is called like one of these would be run instead.
        finder = sys.modules.get("_frozen_importlib_external")
        for name in ("copyreg", "_compat_pickle", "functools", "codecs"):
            if name not in sys.modules:
                spec = finder.PathFinder.find_spec(name) if finder is not None else None
                origin = getattr(spec, "origin", None) or ""
                base = (posix_file(sys.modules.get("os")) or "").rpartition("/")[0]
                if not base or not origin.startswith(base + "/"):
                    return _sizers
        if "_pickle" not in sys.modules:
            spec = finder.PathFinder.find_spec("_pickle") if "_pickle" not in sys.builtin_module_names else None
            base = (posix_file(sys.modules.get("os")) or "").rpartition("/")[0]
            if spec is not None and not (spec.origin or "").startswith(base + "/"):
                return _sizers
        import _pickle

        class Careful(_pickle.Pickler):
            looked = 0
            rebuild = True

            def reducer_override(self, thing):
                self.looked += 1
                kind = type(thing)
                if kind is FunctionType:
                    _by_reference(thing)
                    return NotImplemented
                if isinstance(thing, type):
                    return NotImplemented
                reason, rebuild = _verdicts.get(kind) or _judge(kind)
                if reason is not None:
                    raise _Veto(reason)
                if not rebuild:
                    self.rebuild = False
                return NotImplemented

        _sizers = (Careful, _pickle.Pickler, _pickle.loads)
    return _sizers


def _by_reference(function):
    """Raises where pickle would not find a function again by its name."""
    qualified = function.__qualname__
    if "<locals>" in qualified or "<lambda>" in qualified:
        raise _Refusal("local function `%s`" % qualified.rpartition("<locals>.")[2])
    module = sys.modules.get(function.__module__ or "__main__")
    found = module
    try:
        for part in qualified.split("."):
            found = found.__dict__[part]
            if isinstance(found, (staticmethod, classmethod)):
                found = found.__func__
    except (KeyError, AttributeError):
        return  # A module may make its attributes up; pickle itself will tell.
    for _ in range(32):
        if found is function:
            return
        # Under its name stands what decorates it, and that is what a pool would be given.
        found = getattr(found, "__wrapped__", None)
        if found is None:
            break
    if found is not function:
        raise _Refusal("function `%s`: its name stands for another object" % qualified)


def _reduction_table():
    table = dict(getattr(sys.modules.get("copyreg"), "dispatch_table", ()))
    reduction = sys.modules.get("multiprocessing.reduction")
    if reduction is not None:
        table.update(getattr(getattr(reduction, "ForkingPickler", None), "_extra_reducers", ()))
    return table


def _weigh(thing, quick=PAYLOAD_TIME):
    """(bytes, nanoseconds to pickle, to unpickle or 0, extrapolated) of one object; raises what is in its way."""
    careful, plain, loads = _pickling()
    until = clock() + quick
    scale = _Scale(until)
    pickler = careful(scale)
    pickler.dispatch_table = table = _reduction_table()
    looked, cut = 0, False
    began = pay_clock()
    try:
        pickler.dump(thing)
    except _Enough:
        cut = True
    took = pay_clock() - began
    if cut:
        size, took = _sample(thing, scale.bytes, took, quick)
        return size, took, 0, True
    looked = pickler.looked
    small = took < AGAIN_TIME
    # Looking at each object took its time; now that they are known to be harmless, again without. What takes next to no
    # time is told from what happened to be under way by the least of several.
    for turn in range(3 if small else 1 if looked > 20 and took < quick // 3 and not scale.flat else 0):
        scale = _Scale(until + quick)
        again = plain(scale)
        again.dispatch_table = table
        began = pay_clock()
        again.dump(thing)
        spent = pay_clock() - began
        took = spent if not turn or spent < took else took
    back = 0
    if scale.flat:
        took += scale.copying
        # What was taken apart into flat data, such as an array, is put together again by copies of the same data.
        back = took if looked else scale.copying
    elif pickler.rebuild:
        data = b"".join(scale.parts)
        for turn in range(3 if small else 1):
            began = pay_clock()
            loads(data)
            spent = pay_clock() - began or 1
            back = spent if not turn or spent < back else back
    return scale.bytes, took, back, scale.flat


def _sample(thing, seen, took, quick):
    """What is too much to pickle for a measurement: some of its parts stand for all."""
    size = len(thing) if type(thing) in (list, tuple, dict, set, frozenset) else 0
    if type(thing) in (list, tuple) and size >= 200 and quick in (PAYLOAD_TIME, LOOP_TIME):
        part = list(thing[:: size // 100])
        weight, time, _, _ = _weigh(part, quick // 3)
        return weight * size // len(part), time * size // len(part)
    return seen, took


def _parts(function, args, kwargs):
    """What would be moved for a call: its arguments, and what a bound method or an object that is called carries."""
    kind = type(function)
    parts = list(args)
    if kind is MethodType and not isinstance(function.__self__, (type, ModuleType)):
        parts.insert(0, function.__self__)
    elif kind not in (FunctionType, MethodType, _BuiltinMethod, type(None)) and not isinstance(function, type):
        if not isinstance(_static(function, "__qualname__"), str):
            parts.insert(0, function)
    if kwargs:
        parts.append(dict(kwargs))
    return parts


def _pay_due(stage):
    if stage.pay_stop or stage.tasks < stage.pay_next:
        return False
    return not stage.pay_spent or stage.timed and stage.pay_spent * PAYLOAD_SHARE < stage.wall * stage.tasks // stage.timed


def _coroutine_pay_due(stage):
    """The same for a coroutine that is about to begin: hundreds may before the first one ends, so those that began count."""
    number = stage.begun_n = stage.begun()
    if stage.pay_stop or number <= stage.pay_next:
        return False
    return stage.pay_spent < LOOP_FREE or stage.pay_spent * PAYLOAD_SHARE < stage.wall


def _pay(stage, me, kind, function, args, kwargs, quick=PAYLOAD_TIME):
    """Measures the arguments of a call, or its result (as `args[0]`), and says so; never raises."""
    if not _pickling():
        stage.pay_stop = True
        return
    began = pay_clock()
    # What came to a worker process was pickled, perhaps by means that are not known here (loky's); what cannot be sent back
    # its pool will tell.
    came = stage.executor == PROCESS
    try:
        if kind == ARGUMENTS:
            # Sizes differ: the later tasks of a stage are looked at nearly as often as the first ones.
            seen = max(stage.tasks if stage.executor != ASYNCIO else stage.begun_n, stage.pay_next)
            stage.pay_next = seen + 1 + (seen >> 2)
            if type(function) is FunctionType and not stage.checked and not came:
                stage.checked = True
                try:
                    _by_reference(function)
                except _Refusal as refusal:
                    _note("not-picklable", str(refusal), stage)
            parts = _parts(function, args, kwargs)
            thing = parts[0] if len(parts) == 1 else tuple(parts)
        else:
            parts = args
            thing = args[0]
        try:
            size, took, back, guessed = _weigh(thing, quick)
        except _Veto as veto:
            _note("payload-unknown", str(veto), stage)
        except _Refusal as refusal:
            _note("payload-unknown" if came else "not-picklable", str(refusal), stage)
        except (_Enough, MemoryError):
            _note("payload-unknown", "too much to pickle for a measurement", stage)
        except (Exception, SystemExit) as error:
            if _foreign(error):
                raise
            # Another thread may be at work on it: that says nothing of its type.
            if "changed size during iteration" not in str(error):
                _note("payload-unknown" if came else "not-picklable", _refused(error, kind, parts), stage)
        else:
            now = clock()
            _record(kind, EXTRAPOLATED if guessed else 0, stage.number, me.number, min(back, MASK), now, size, took, 0)
    finally:
        spent = pay_clock() - began
        stage.pay_spent += spent or 1
        stage.state.cost_feed(spent)
        stage.state.cost_step()


def _refused(error, kind, parts):
    """In words: what cannot be pickled, and where it stands."""
    what = _pickle_words(error)
    if kind == RESULT:
        return what + " in the result"
    if len(parts) > 1:
        for place, part in enumerate(parts, 1):
            try:
                _weigh(part, PAYLOAD_TIME // 5)
            except (_Veto, _Enough, MemoryError):
                continue
            except (Exception, SystemExit):
                return "%s in argument %d" % (what, place)
    return what + " in argument 1"

# --------------------------------------------------------------------------------------------------------------------
# concurrent.futures: what all pools share
# --------------------------------------------------------------------------------------------------------------------


def _submitted(stage):
    """(when, length of the queue) for a task that is being submitted."""
    number = stage.submitted_n = stage.submitted()
    depth = max(number - stage.begun_n, 0)
    if depth > stage.peak:
        stage.peak = depth
        _pack_signed(stage.state.memory, stage.depth_at + 8, depth)
        _pack_signed(stage.state.memory, stage.depth_at, depth)
    return clock(), depth


def _taken(stage):
    """A task left the queue."""
    number = stage.begun_n = stage.begun()
    left = stage.submitted_n - number
    if left <= 0 or not number & 7:
        _pack_signed(stage.state.memory, stage.depth_at, left if left > 0 else 0)


class _Retrieval:
    """Stands for `_exception` in the class of futures while a failed future does not have it itself: so the first look
    at it is seen, and looks at futures that did not fail cost nothing."""

    def __get__(self, future, owner=None):
        own = future.__dict__ if future is not None else {}
        held = own.get("_poolpick_failure")
        if held is None:
            if "_exception" in own:
                return own["_exception"]
            raise AttributeError("_exception")
        own["_exception"] = held[0]
        if own.pop("_poolpick_failure", None) is not None:
            try:
                held[1].lost_feed(-1)
                held[1].lost_step()
            except Exception:
                pass
        return held[0]


def _hook_futures(module):
    future_type = module.Future
    plain_exception, plain_cancel = future_type.set_exception, future_type.cancel

    def set_exception(self, exception):
        stage = None
        try:
            me = _me()
            own = self.__dict__
            if me.future is self:
                stage = me.stage
                me.failed = True
                token, me.token = me.token, None
                if token is not None:
                    _end(token, FAILED)
            elif "_poolpick" in own:
                stage = own["_poolpick"]
                if stage.executor == PROCESS:
                    _pool_failure(stage, exception, own.pop("_poolpick_tasks", 1))
            own.pop("set_result", None)
        except Exception as error:
            if _foreign(error):
                raise
        before = exception.__traceback__ if isinstance(exception, BaseException) else None
        answer = plain_exception(self, exception)
        try:
            if stage is not None and stage.state is _state and not own.get("_done_callbacks"):
                # Raised again already, before this line: then it was retrieved.
                if own.get("_exception") is exception and exception.__traceback__ is before:
                    own["_poolpick_failure"] = (exception, stage)
                    stage.lost_feed(1)
                    stage.lost_step()
                    own.pop("_exception", None)
        except Exception as error:
            if _foreign(error):
                raise
        finally:
            del exception, self, before
        return answer

    def cancel(self):
        answer = plain_cancel(self)
        try:
            if answer:
                stage = self.__dict__.pop("_poolpick", None)
                if stage is not None and stage.state is _state:
                    _state.waiting.pop(self.__dict__.pop("_poolpick_key", None), None)
                    stage.cancelled()
                    _taken(stage)
        except Exception as error:
            if _foreign(error):
                raise
        return answer

    future_type.set_exception = _like(set_exception, plain_exception)
    future_type.cancel = _like(cancel, plain_cancel)
    if "_exception" not in future_type.__dict__:
        future_type._exception = _Retrieval()


def _like(ours, theirs):
    """Gives a function that stands for another one its name: pickles go by it, and so do people."""
    for name in ("__module__", "__name__", "__qualname__", "__doc__", "__kwdefaults__"):
        try:
            if name != "__kwdefaults__":
                setattr(ours, name, getattr(theirs, name))
        except Exception:
            pass
    try:
        ours.__wrapped__ = theirs  # So that `inspect.signature` tells the same as before.
    except Exception:
        pass
    return ours


def _pool_failure(stage, exception, tasks):
    """What the failure of a process pool's task tells about the pool."""
    name = type(exception).__name__
    if name in ("BrokenProcessPool", "TerminatedWorkerError"):
        _note("broken-pool", "a worker process ended while its pool still needed it", stage)
        return
    # What fails in a worker was seen there. What failed on the way to it left its trace in the thread that feeds the queue.
    trace = getattr(getattr(exception, "__cause__", None), "tb", None)
    if isinstance(trace, str) and ", in _feed" in trace and "in _process_worker" not in trace and stage.state is _state:
        last = trace.strip().strip('"').strip().rpartition("\n")[2]
        _unsent(stage, None, tasks, _pickle_words(exception, last))


def _unsent(stage, function, tasks, words):
    """Counts tasks that failed on their way to a worker, and says what was in the way, in these words if it is not the function."""
    if function is None and stage.function is not None:
        function = stage.function()
    try:
        if type(function) is FunctionType:
            _by_reference(function)
    except _Refusal as refusal:
        words = str(refusal)
    stage.under_feed(tasks)
    stage.under_step()
    stage.done_feed(tasks)
    stage.done_step()
    stage.failed()
    stage.tasks += tasks
    _note("not-picklable", words, stage)


def _pickle_words(error, last=""):
    """What pickle says is in its way, without addresses, which differ from run to run. `last`: the last line of a trace, where
    a pool told it in its own words."""
    if isinstance(error, RecursionError) or last.startswith("RecursionError"):
        return "too deeply nested to be pickled"
    text = (last.partition(": ")[2] or str(error)).replace("Can't", "cannot", 1)
    quoted = text.split("'")
    if len(quoted) > 2:
        return "cannot pickle `%s`" % quoted[1]
    # `<function f at 0x7f…>`
    head, at, rest = text.partition(" at 0x")
    while at:
        head, at, rest = (head + rest.lstrip("0123456789abcdefABCDEF")).partition(" at 0x")
    return head or type(error).__name__


# --------------------------------------------------------------------------------------------------------------------
# ThreadPoolExecutor
# --------------------------------------------------------------------------------------------------------------------


def _hook_thread(module):
    item = module._WorkItem
    plain_init, plain_run, plain_worker = item.__init__, item.run, module._worker

    # This is the hot path of a pool's owner. Attributes, and no containers: what is allocated for each task lives as
    # long as its future, and would make the garbage collector run more often.
    def __init__(self, future, fn, args, kwargs):
        plain_init(self, future, fn, args, kwargs)
        try:
            state = _state
            entry = state.by_id[THREAD].get(id(fn))
            if entry is not None and entry[0]() is fn:
                stage = entry[1]
            else:
                stage = _stage_of(fn if type(fn) is FunctionType else _unwrap(fn, args, {})[0], THREAD)
                if stage is None:
                    return
            number = stage.submitted_n = stage.submitted()
            depth = number - stage.begun_n
            if depth > stage.peak:
                stage.peak = depth
                _pack_two_signed(state.memory, stage.depth_at, depth, depth)
            self._poolpick_depth = depth if depth > 0 else 0
            self._poolpick_when = clock()
            self._poolpick = future._poolpick = stage
        except Exception as error:
            if _foreign(error):
                raise

    def init_since_314(self, future, *rest, **named):
        plain_init(self, future, *rest, **named)
        try:
            function, args, _ = _call_of(rest)
            if type(function) is not FunctionType:
                function = _unwrap(function, args, {})[0]
            executor = THREAD
            if "concurrent.futures.interpreter" in sys.modules and _caller_is_interpreters(2):
                executor = INTERPRETER
            stage = _stage_of(function, executor)
            if stage is not None:
                self._poolpick_when, self._poolpick_depth = _submitted(stage)
                self._poolpick = future._poolpick = stage
        except Exception as error:
            if _foreign(error):
                raise

    def run(self, *rest):
        stage = None
        try:
            stage = self._poolpick
            future = self.future
            if stage.state is _state and future._state == "PENDING":
                me = _me()
                outer = (me.future, me.stage, me.token, me.failed, me.direct)
                stage.under_feed(1)
                stage.under_step()
                number = stage.begun_n = stage.begun()
                left = stage.submitted_n - number
                if left <= 0 or not number & 7:
                    _pack_signed(stage.state.memory, stage.depth_at, left if left > 0 else 0)
                me.future, me.stage, me.token, me.failed = future, stage, None, False
                if _wanted:
                    me.direct = _code_of(getattr(self, "fn", None))
                lane = me.lanes.get(stage)
                if lane is not None and lane.left > 0:
                    lane.left -= 1
                    lane.passed += 1
                else:
                    _thread_begins(me, self, future, stage)
            else:
                stage = None
        except AttributeError:
            stage = None  # Made before us, or by somebody else.
        except Exception as error:
            if _foreign(error):
                raise
        try:
            return plain_run(self, *rest)
        finally:
            # The frame may live on in a traceback: nothing of the task may be held by it.
            self = rest = None
            try:
                if stage is not None:
                    state = future._state
                    token, failed = me.token, me.failed
                    me.future, me.stage, me.token, me.failed, me.direct = outer
                    if stage.state is _state:
                        if state != "CANCELLED_AND_NOTIFIED":
                            stage.done_feed(1)
                            stage.done_step()
                            stage.tasks = stage.ended()
                            if failed:
                                stage.failed()
                        else:
                            stage.under_feed(-1)  # Cancelled in the very moment: it did not run.
                            stage.under_step()
                    if token is not None:
                        _thread_unended(token, future)
            except Exception as error:
                if _foreign(error):
                    raise
            future = me = stage = outer = token = None

    if sys.hexversion >= 0x030E0000:
        __init__ = init_since_314

    def _worker(*arguments, **named):
        try:
            me = _me()
            executor = arguments[0]()
            if executor is not None:
                kind = type(executor)
                name = "concurrent.futures.%s" % kind.__name__ if kind.__module__.startswith("concurrent.") else None
                interpreters = any(base.__name__ == "InterpreterPoolExecutor" for base in kind.__mro__)
                me.pool = (
                    INTERPRETER if interpreters else THREAD,
                    name or "%s.%s" % (_module_name(kind.__module__), kind.__qualname__),
                    _whole(getattr(executor, "_max_workers", 0)),
                )
            executor = kind = None
        except Exception as error:
            if _foreign(error):
                raise
        return plain_worker(*arguments, **named)

    item.__init__ = _like(__init__, plain_init)
    item.run = _like(run, plain_run)
    module._worker = _like(_worker, plain_worker)


def _whole(number):
    return number if type(number) is int and 0 <= number <= MASK else 0


def _call_of(rest):
    """(function, args, kwargs) of a work item: three arguments before 3.14, one tuple since."""
    if len(rest) == 3:
        return rest
    task = rest[0]
    if type(task) is tuple and len(task) == 3:
        return task
    raise TypeError


def _caller_is_interpreters(level):
    frame = sys._getframe(level)
    executor = frame.f_locals.get("self")
    return any(base.__name__ == "InterpreterPoolExecutor" for base in type(executor).__mro__)


def _thread_begins(me, item, future, stage):
    entered = clock()
    submitted, depth = item._poolpick_when, item._poolpick_depth
    pool = me.pool
    if pool is not None and (pool[2] != stage.workers or pool[1] != stage.pool):
        stage.pooled(pool[1], pool[2], "")
    lane = _lane_of(me, stage)
    paying = _pay_due(stage)
    if paying:
        call = (item.fn, item.args, item.kwargs) if hasattr(item, "fn") else item.task
        function, args, kwargs, _ = _unwrap(*call)
        _pay(stage, me, ARGUMENTS, function, args, kwargs)
        del call, function, args, kwargs
    future.set_result = partial(_thread_result, me, future, paying)
    me.token = _begin(me, stage, lane, clock() if paying else entered, max(entered - submitted, 0), depth, 1, 0)


def _thread_result(me, future, paying, result):
    """Stands for one future's `set_result`: a task ends here, before those who wait for it are told."""
    try:
        future.__dict__.pop("set_result", None)
        token, me.token = me.token, None
        if token is not None:
            _end(token, 0)
            if paying:
                _pay(token[0], me, RESULT, None, (result,), None)
    except Exception as error:
        if _foreign(error):
            raise
    return future.set_result(result)


def _thread_unended(token, future):
    """A timed task with neither a result nor an exception: it was cancelled in the very moment."""
    future.__dict__.pop("set_result", None)
    if token[0].state is _state:
        _end(token, CANCELLED)


# --------------------------------------------------------------------------------------------------------------------
# Worker processes: ProcessPoolExecutor, loky, multiprocessing.Pool; and ThreadPool, which works like the latter
# --------------------------------------------------------------------------------------------------------------------


class _Watch:
    """One worker's loop, seen through the two queues between which it runs its tasks."""

    __slots__ = ("executor", "pool", "token", "stage", "tasks", "paying", "me", "chunk", "last")

    def __init__(self, executor, pool):
        self.executor, self.pool = executor, pool
        self.token = self.stage = self.last = None
        self.me = me = _me()
        me.pool = (executor, pool, 0)

    def begin(self, function, args, kwargs, submitted):
        entered = clock()
        given = function
        function, args, kwargs, tasks = _unwrap(function, args, kwargs)
        if not tasks:
            return
        # Results of a chunk come as one list. A chunk may have but one task.
        self.chunk = tasks > 1 or getattr(getattr(given, "func", given), "__name__", "") in _CHUNKS
        stage = _stage_of(function, self.executor)
        if stage is None:
            return
        me = self.me = _me()
        if not stage.pool:
            stage.pooled(self.pool, 0, "fork" if _state.forked and self.executor == PROCESS else "")
        if _wanted:
            me.direct = _code_of(function)
        self.stage, self.tasks, self.token = stage, tasks, None
        # This pool's queue is not seen here: what it takes from there counts as submitted in this moment.
        stage.submitted_n, stage.begun_n = stage.submitted(), stage.begun()
        stage.under_feed(tasks)
        stage.under_step()
        lane = _lane_of(me, stage)
        self.paying = False
        if lane.left > 0:
            lane.left -= 1
            lane.passed += 1
            return
        self.paying = _pay_due(stage)
        if self.paying:
            _pay(stage, me, ARGUMENTS, function, args, kwargs)
        queued = -1 if submitted is None or not 0 < submitted <= entered else entered - submitted
        self.token = _begin(me, stage, lane, clock() if self.paying else entered, queued, -1, tasks, 0)

    def end(self, failed, result):
        """`result` is a tuple of the one value, or empty."""
        stage = self.stage
        if stage is None:
            return
        token, self.token, self.stage = self.token, None, None
        if stage.state is not _state:
            return
        if token is not None:
            _end(token, FAILED if failed else 0)
        tasks = self.tasks
        self.last = None if failed else stage
        if _wanted:
            self.me.direct = None
        stage.tasks += tasks
        stage.done_feed(tasks)
        stage.done_step()
        if failed:
            stage.failed()
        elif self.paying and result:
            value = result[0]
            if self.chunk and type(value) is list and len(value) == tasks:
                value = value[tasks // 2]
            _pay(stage, self.me, RESULT, None, (value,), None)

    def again(self, error):
        """A second answer to the same task: its result could not be sent, and this is sent in its place."""
        stage, self.last = self.last, None
        if stage is not None and stage.state is _state:
            stage.failed()
            _note("not-picklable", _pickle_words(error) + " in the result", stage)


class _Queue:
    """A queue of which one method is looked at; all else goes to the queue itself."""

    def __init__(self, queue, watch):
        object.__setattr__(self, "_poolpick", (queue, watch))

    def __getattr__(self, name):
        return getattr(self._poolpick[0], name)

    def __setattr__(self, name, value):
        setattr(self._poolpick[0], name, value)

    def __delattr__(self, name):
        delattr(self._poolpick[0], name)


class _CallQueue(_Queue):
    def get(self, *arguments, **named):
        queue, watch = self._poolpick
        item = queue.get(*arguments, **named)
        try:
            watch.last = None
            if item is not None:
                watch.begin(item.fn, item.args, item.kwargs, getattr(item, "_poolpick", None))
        except Exception as error:
            if _foreign(error):
                raise
        return item


class _ResultQueue(_Queue):
    def put(self, item, *arguments, **named):
        queue, watch = self._poolpick
        try:
            if watch.stage is not None:
                failed = getattr(item, "exception", None) is not None
                watch.end(failed, () if failed else (item.result,))
            elif watch.last is not None and getattr(item, "exception", None) is not None:
                watch.again(getattr(item.exception, "exc", item.exception))
        except Exception as error:
            if _foreign(error):
                raise
        return queue.put(item, *arguments, **named)


class _TaskQueue(_Queue):
    """`multiprocessing.Pool` hands out tuples: (job, index, function, args, kwargs)."""

    def get(self, *arguments, **named):
        queue, watch = self._poolpick
        task = queue.get(*arguments, **named)
        try:
            watch.last = None
            if task is not None and task[2].__name__ != "_helper_reraises_exception":
                watch.begin(task[2], task[3], task[4], None)
        except AttributeError:
            watch.begin(task[2], task[3], task[4], None)
        except Exception as error:
            if _foreign(error):
                raise
        return task


class _AnswerQueue(_Queue):
    def put(self, item, *arguments, **named):
        queue, watch = self._poolpick
        try:
            if watch.stage is not None:
                good, value = item[2]
                watch.end(not good, (value,) if good else ())
            elif watch.last is not None and type(item[2][1]).__name__ == "MaybeEncodingError":
                # What was in the way stands in its text, as `repr` shows an exception.
                text = item[2][1].exc
                kind, _, text = (text if type(text) is str else "").partition("(")
                watch.again(RecursionError() if kind == "RecursionError" else Exception(text.strip("()\"")))
        except Exception as error:
            if _foreign(error):
                raise
        return queue.put(item, *arguments, **named)


def _hook_process(module):
    """`concurrent.futures.process`, or one of the modules of loky that grew out of it."""
    loky = "loky" in module.__name__
    pool_name = "loky" if loky else "concurrent.futures.ProcessPoolExecutor"
    plain_worker = module._process_worker

    def _process_worker(call_queue, result_queue, *rest, **named):
        try:
            watch = _Watch(PROCESS, pool_name)
            queues = _CallQueue(call_queue, watch), _ResultQueue(result_queue, watch)
        except Exception as error:
            if _foreign(error):
                raise
            queues = call_queue, result_queue
        return plain_worker(*queues, *rest, **named)

    module._process_worker = _like(_process_worker, plain_worker)
    del module._process_worker.__wrapped__

    item, call_item = module._WorkItem, module._CallItem
    plain_item, plain_call = item.__init__, call_item.__init__

    def item_init(self, future, fn, args, kwargs):
        plain_item(self, future, fn, args, kwargs)
        try:
            function, _, _, tasks = _unwrap(fn, args, kwargs)
            stage = _stage_of(function, PROCESS)
            if stage is not None:
                when, depth = _submitted(stage)
                if tasks != 1:
                    future._poolpick_tasks = tasks
                # A call's kwargs are a dictionary of its own: it tells the call from all others.
                _state.waiting[id(kwargs)] = (stage, when, depth)
                future._poolpick, future._poolpick_key = stage, id(kwargs)
                if not stage.workers:
                    _process_pool(stage, sys._getframe(1), pool_name)
        except Exception as error:
            if _foreign(error):
                raise

    def call_init(self, work_id, fn, args, kwargs):
        plain_call(self, work_id, fn, args, kwargs)
        try:
            waiting = _state.waiting.pop(id(kwargs), None)
            if waiting is not None:
                _taken(waiting[0])
                # It travels with the call: the clock is the same for all processes of a machine.
                self._poolpick = waiting[1]
        except Exception as error:
            if _foreign(error):
                raise

    item.__init__ = _like(item_init, plain_item)
    call_item.__init__ = _like(call_init, plain_call)

    manager = getattr(module, "_ExecutorManagerThread", None)
    plain_broken = getattr(manager, "terminate_broken", None)
    if plain_broken is not None:

        def terminate_broken(self, *arguments, **named):
            processes = ended = ()
            try:
                processes = list(self.processes.values())
                ended = [process for process in processes if process.exitcode is not None]
            except Exception as error:
                if _foreign(error):
                    raise
            answer = plain_broken(self, *arguments, **named)
            try:
                # Its pipe may close before its status can be had; by now it can, and the others were terminated.
                codes = {process.exitcode for process in processes if process in ended or process.exitcode != -15}
                for code in sorted(code for code in codes if code):
                    _worker_ended(code)
            except Exception as error:
                if _foreign(error):
                    raise
            return answer

        manager.terminate_broken = _like(terminate_broken, plain_broken)


def _worker_ended(code):
    """Notes how a worker ended that its pool still needed."""
    if code < 0:
        _note("worker-killed", "a worker process was killed by " + _signal(-code))
        return
    _note("broken-pool", "a worker process ended with status %d" % code)


def _signal(number):
    try:
        return "%s (signal %d)" % (sys.modules["signal"].Signals(number).name, number)
    except (KeyError, AttributeError, ValueError):
        return "signal %d" % number


def _process_pool(stage, frame, pool_name):
    """Finds the executor that a work item is made for: `submit` is the caller, or calls the caller."""
    for _ in range(4):
        if frame is None:
            return
        executor = frame.f_locals.get("self")
        context = getattr(executor, "_mp_context", None) or getattr(executor, "_context", None)
        if context is not None and hasattr(executor, "_max_workers"):
            kind = type(executor)
            if not kind.__module__.startswith(("concurrent.", "loky", "joblib.")):
                pool_name = "%s.%s" % (_module_name(kind.__module__), kind.__qualname__)
            start = _start_method(context)
            stage.pooled(pool_name, _whole(executor._max_workers), start)
            _before_processes(stage, start)
            return
        frame = frame.f_back


def _start_method(context):
    try:
        name = type(context).__name__
        for method in ("forkserver", "spawn", "fork", "loky"):
            if name.lower().startswith(method):
                return method
        name = context.get_start_method(allow_none=True)
        if name is None and "multiprocessing.context" in sys.modules:
            # Not decided yet: what would be taken is what decides it. The choice itself is left to the pool.
            default = sys.modules["multiprocessing.context"]._default_context
            actual = default._actual_context or default._default_context
            name = actual._name
        return name or ""
    except Exception:
        return ""


def _before_processes(stage, start):
    """Diagnosis in a process that is about to start workers."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and getattr(process.current_process(), "_inheriting", False):
        _note("missing-main-guard", "a worker that is being started starts workers itself, for the script that it "
              "imports lacks `if __name__ == \"__main__\":`", stage)  # fmt: skip
    if start == "fork":
        function = stage.function() if stage.function is not None else None
        if function is not None:
            _opened(stage, function)


def _hook_pool(module):
    """`multiprocessing.pool`."""
    plain_worker = module.worker

    def worker(inqueue, outqueue, *rest, **named):
        try:
            if hasattr(inqueue, "_writer"):
                watch = _Watch(PROCESS, "multiprocessing.pool.Pool")
            else:
                watch = _Watch(THREAD, "multiprocessing.pool.ThreadPool")
            queues = _TaskQueue(inqueue, watch), _AnswerQueue(outqueue, watch)
        except Exception as error:
            if _foreign(error):
                raise
            queues = inqueue, outqueue
        return plain_worker(*queues, *rest, **named)

    module.worker = _like(worker, plain_worker)
    del module.worker.__wrapped__

    for name in ("ApplyResult", "IMapIterator"):
        kind = getattr(module, name)
        plain = kind.__init__

        def __init__(self, *arguments, __plain=plain, **named):
            __plain(self, *arguments, **named)
            try:
                _pool_call(module, sys._getframe(1))
            except Exception as error:
                if _foreign(error):
                    raise

        kind.__init__ = _like(__init__, plain)
        kind.__init__.__kwdefaults__ = {"__plain": plain}

    plain_tasks = module.Pool.__dict__["_handle_tasks"].__func__

    def _handle_tasks(taskqueue, put, outqueue, pool, cache):
        return plain_tasks(taskqueue, put, outqueue, pool, _Unsent(cache))

    module.Pool._handle_tasks = staticmethod(_like(_handle_tasks, plain_tasks))

    cache = module._PoolCache
    plain_cache = cache.__init__

    def cache_init(self, *arguments, **named):
        plain_cache(self, *arguments, **named)
        try:
            process = sys.modules.get("multiprocessing.process")
            if process is not None and getattr(process.current_process(), "_inheriting", False):
                _note("missing-main-guard", "a worker that is being started starts workers itself, for the script "
                      "that it imports lacks `if __name__ == \"__main__\":`")  # fmt: skip
        except Exception as error:
            if _foreign(error):
                raise

    cache.__init__ = _like(cache_init, plain_cache)

    plain_exited = module.Pool.__dict__["_join_exited_workers"].__func__

    def _join_exited_workers(pool):
        before = list(pool)
        answer = plain_exited(pool)
        try:
            for process in before if answer else ():
                if process not in pool and process.exitcode:
                    _worker_ended(process.exitcode)
        except Exception as error:
            if _foreign(error):
                raise
        return answer

    module.Pool._join_exited_workers = staticmethod(_like(_join_exited_workers, plain_exited))


class _Unsent:
    """The results that a pool waits for, as the thread that hands out tasks sees them: it looks one up only where a task
    could not be sent."""

    def __init__(self, results):
        self._poolpick = results

    def __getattr__(self, name):
        return getattr(self._poolpick, name)

    def __getitem__(self, job):
        try:
            error = sys.exc_info()[1]
            held = sys._getframe(1).f_locals
            task = held.get("task")
            if error is not None and task is not None:
                function, _, _, tasks = _unwrap(task[2], task[3], task[4])
                stage = _stage_of(function, PROCESS)
                if stage is not None:
                    _unsent(stage, function, tasks, _pickle_words(error))
            if type(held) is dict:
                held.clear()  # Before 3.13, a copy that the frame would keep.
        except Exception as problem:
            if _foreign(problem):
                raise
        return self._poolpick[job]


def _pool_call(module, frame):
    """A call of `Pool.map` and the like, seen by the object that will hold its results."""
    function = pool = None
    for _ in range(4):
        if frame is None:
            return
        if frame.f_code.co_name in ("apply_async", "_map_async", "imap", "imap_unordered"):
            function, pool = frame.f_locals.get("func"), frame.f_locals.get("self")
            break
        frame = frame.f_back
    if function is None or not isinstance(pool, module.Pool):
        return
    threads = isinstance(pool, module.ThreadPool)
    args = frame.f_locals.get("args")
    function = _unwrap(function, args if type(args) is tuple else (), {})[0]
    stage = _stage_of(function, THREAD if threads else PROCESS)
    if stage is None:
        return
    start = "" if threads else _start_method(pool._ctx)
    name = "multiprocessing.pool.ThreadPool" if threads else "multiprocessing.pool.Pool"
    known = stage.workers
    stage.pooled(name, _whole(pool._processes), start)
    if not threads and not known:
        _before_processes(stage, start)


# --------------------------------------------------------------------------------------------------------------------
# asyncio
# --------------------------------------------------------------------------------------------------------------------

STALL_TIME = 50_000_000


class _Coroutine:
    __slots__ = ("reference", "stage", "code", "created", "own", "delay", "slices", "lane", "paying")


_task_types = {}


def _is_task(kind):
    known = _task_types.get(kind)
    if known is None:
        if len(_task_types) > 1000:
            _task_types.clear()
        tasks = sys.modules.get("asyncio.tasks")
        base = tuple(t for t in (getattr(tasks, "_CTask", None), getattr(tasks, "_PyTask", None)) if t is not None)
        known = bool(base) and issubclass(kind, base)
        if base:
            _task_types[kind] = known
    return known


def _coroutine_stage(coroutine):
    state = _state
    code = getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)
    entry = state.codes.get(id(code))
    if entry is not None and entry[0] is code:
        return entry[1]
    frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
    module = _module_name(frame.f_globals.get("__name__")) if frame is not None else ""
    if module.startswith("asyncio."):
        return None  # The event loop's own house-keeping.
    qualified = getattr(coroutine, "__qualname__", None) or type(coroutine).__qualname__
    place = (code.co_filename, code.co_firstlineno) if type(code) is CodeType else ("", 0)
    name = _wanted_name(module, qualified) or _join(module, qualified)
    stage = _stage(name, module, place[0], place[1], COROUTINE_STAGE, ASYNCIO)
    if stage is not None and type(code) is CodeType:
        if len(state.codes) > 2000:
            state.codes.clear()
        state.codes[id(code)] = (code, stage)
    return stage


def _new_task(state, task, ready):
    coroutine = task.get_coro()
    stage = _coroutine_stage(coroutine)
    if stage is None:
        return None
    known = state.tasks[id(task)] = _Coroutine()
    known.reference, known.stage, known.created = _weakref.ref(task), stage, ready
    known.code = getattr(coroutine, "cr_code", None)
    known.own = known.delay = known.slices = 0
    known.lane = _lane_of(_me(), stage)
    known.paying = False
    stage.under_feed(1)
    stage.under_step()
    if len(state.tasks) > 50_000:
        # Tasks that were dropped while they were pending.
        for key, other in list(state.tasks.items()):
            if other.reference() is None:
                del state.tasks[key]
    if _coroutine_pay_due(stage):
        _coroutine_pays(known, coroutine)
    return known


def _coroutine_pays(known, coroutine):
    """Measures what a coroutine that has not begun was called with: what a process would have to be sent in its place."""
    began = clock()
    stage = known.stage
    frame = getattr(coroutine, "cr_frame", None)
    begun = getattr(coroutine, "cr_suspended", None)  # Since 3.11.
    if frame is None or (frame.f_lasti >= 0 if begun is None else begun):
        return
    if not stage.checked:
        stage.checked = True
        qualified = getattr(coroutine, "__qualname__", "")
        if "<locals>" in qualified or "<lambda>" in qualified:
            _note("not-picklable", "local function `%s`" % qualified.rpartition("<locals>.")[2], stage)
    held = frame.f_locals
    values = _frame_arguments(frame, held)
    if type(held) is dict:
        held.clear()  # Before 3.13, a copy that the frame would keep: what the coroutine lets go of has to go.
    _pay(stage, _me(), ARGUMENTS, None, values, None, LOOP_TIME)
    known.paying = True
    known.created += clock() - began  # Nobody awaited anything meanwhile.


def _hook_events(module):
    handle = module.Handle
    plain_run = handle._run

    def _run(self):
        # The hot path of an event loop: a task that is known, of which this slice is not timed.
        known = token = outer = None
        try:
            state = _state
            task = self._callback.__self__
            start = clock()
            known = state.tasks.get(id(task))
            if known is None or known.reference() is not task:
                known = None
                if _task_types.get(type(task)) or _is_task(type(task)):
                    known = _new_task(state, task, state.ready.get(id(self), start))
                    if known is not None and known.paying:
                        state.ready[id(self)] = state.ready.get(id(self), start) + clock() - start
                        start = clock()
                else:
                    task = None
            ready = state.ready.pop(id(self), start)
            if known is not None:
                known.delay += start - ready
                lane = known.lane
                if lane.left > 0:
                    lane.left -= 1
                    lane.passed += 1
                else:
                    token = _begin(_me(), known.stage, lane, start, -1, -1, 1, SLICE)
                    # Ours, however long this thread had no CPU meanwhile: nothing was awaited.
                    known.created -= start
                    start = clock()
                    known.created += start
                if _wanted:
                    # A named coroutine that is a task is counted as one, here.
                    doer = _me()
                    outer = doer, doer.direct
                    doer.direct = known.code
        except AttributeError:
            task = known = None  # The callback is a plain function.
            start = clock()
            state.ready.pop(id(self), None)
            try:
                # A timer: what it wakes up has been ready since it was due, however long the loop did something else.
                state.late = max(start - int(self._when * 1e9), 0)
            except AttributeError:
                pass
        except Exception as error:
            if _foreign(error):
                raise
            task = known = None
        callback = self._callback if task is None else None
        try:
            return plain_run(self)
        finally:
            self = None
            try:
                ended = clock()
                own = ended - start
                if task is None:
                    state.late = 0
                if token is not None:
                    _end(token, 0)
                if outer is not None:
                    outer[0].direct = outer[1]
                if known is not None:
                    known.own += own
                    known.slices += 1
                    if task.done() and known.stage.state is _state:
                        _task_done(known, task, ended)
                if own > STALL_TIME and _state.usable():
                    _stalled(known, callback, own)
            except Exception as error:
                if _foreign(error):
                    raise
            task = callback = known = token = outer = None

    handle._run = _like(_run, plain_run)


def _task_done(known, task, now):
    state = _state
    stage = known.stage
    state.tasks.pop(id(task), None)
    failed = task._exception is not None if not task.cancelled() else False
    stage.done_feed(1)
    stage.done_step()
    stage.tasks += 1
    if failed:
        stage.failed()
    # What payloads may cost goes by the time of the slices: an event loop has no other.
    stage.wall += known.own
    if known.paying and not failed and not task.cancelled():
        _pay(stage, _me(), RESULT, None, (task._result,), None, LOOP_TIME)
    # A record for as many as a hundredth of the slices pays for.
    stage.credit += known.own // 100
    if stage.credit < 700:
        return
    stage.credit = min(stage.credit - 700, 700)
    wall = max(now - known.created, 0)
    flags = (FAILED if failed else 0) | (CANCELLED if task.cancelled() else 0)
    delay = known.delay // 1000
    _record(COROUTINE, flags, stage.number, _me().number, delay, now, wall, known.own, known.slices)
    for index, amount in ((0, 1), (1, wall), (4, 1), (5, known.delay)):
        feed, step = stage.feeds[index]
        feed(amount)
        step()


def _stalled(known, callback, own):
    if known is not None:
        stage = known.stage
    else:
        module, qualified, file, line = _identity(_unwrap(callback, (), {})[0])
        stage = _stage(_join(module, qualified), module, file, line, FUNCTION, ASYNCIO)
        if stage is None:
            return
    _record(STALL, 0, stage.number, _me().number, 0, clock(), own, 0, 0)


def _hook_base_events(module):
    loop = module.BaseEventLoop
    plain_soon = loop._call_soon
    plain_handler = loop.call_exception_handler

    def _call_soon(self, callback, args, context):
        handle = plain_soon(self, callback, args, context)
        try:
            ready = _state.ready
            ready[id(handle)] = clock() - _state.late
            if self._debug or len(ready) > 20_000:
                if len(ready) > 20_000:
                    ready.clear()  # Of handles that were cancelled.
                trace = handle._source_traceback
                if trace and trace[-1].filename == _own_file:
                    del trace[-1]
        except Exception as error:
            if _foreign(error):
                raise
        return handle

    def call_exception_handler(self, context):
        try:
            if "never retrieved" in context.get("message", ""):
                owner = context.get("task") or context.get("future")
                coroutine = owner.get_coro() if hasattr(owner, "get_coro") else None
                stage = _coroutine_stage(coroutine) if coroutine is not None else None
                if stage is not None:
                    stage.lost_feed(1)
                    stage.lost_step()
        except Exception as error:
            if _foreign(error):
                raise
        return plain_handler(self, context)

    loop._call_soon = _like(_call_soon, plain_soon)
    loop.call_exception_handler = _like(call_exception_handler, plain_handler)


# --------------------------------------------------------------------------------------------------------------------
# What the code itself tells: module state that tasks write, resources opened before a fork
# --------------------------------------------------------------------------------------------------------------------

_CHANGING = frozenset(
    "append extend insert remove pop clear update add discard setdefault popitem sort reverse appendleft extendleft "
    "popleft difference_update intersection_update symmetric_difference_update __setitem__".split()
)
_opcodes = None


def _opcode_names():
    """Names of the interpreter's instructions; None where the module that knows them is not Python's own."""
    global _opcodes
    if _opcodes is None:
        _opcodes = ()
        module = sys.modules.get("opcode")
        if module is None:
            base = (posix_file(sys.modules.get("os")) or "").rpartition("/")[0]
            finder = sys.modules.get("_frozen_importlib_external")
            for name in ("opcode", "_opcode_metadata"):
                spec = finder.PathFinder.find_spec(name)
                if spec is not None and not (spec.origin or "").startswith(base + "/"):
                    return _opcodes
            before = set(sys.modules)
            import opcode as module

            # As if it had not been imported: a program that looks meets what it would have met.
            for name in set(sys.modules) - before:
                if name in ("opcode", "_opcode_metadata"):
                    del sys.modules[name]
        _opcodes = (list(module.opname), getattr(module, "stack_effect", None))
    return _opcodes


def _instructions(code, names):
    """[(line, instruction, argument)] without caches."""
    data = code.co_code
    lines = {}
    if hasattr(code, "co_lines"):
        for start, end, line in code.co_lines():
            for at in range(start, end, 2):
                lines[at] = line
    else:
        at, line = 0, code.co_firstlineno
        table = code.co_lnotab
        for place in range(0, len(table), 2):
            for offset in range(at, at + table[place], 2):
                lines[offset] = line
            at += table[place]
            line += table[place + 1] if table[place + 1] < 128 else table[place + 1] - 256
        for offset in range(at, len(data), 2):
            lines[offset] = line
    found, extended = [], 0
    for at in range(0, len(data), 2):
        name, argument = names[data[at]], data[at + 1] | extended
        if name == "EXTENDED_ARG":
            extended = argument << 8
            continue
        extended = 0
        if name not in ("CACHE", "PRECALL", "RESUME", "NOP", "PUSH_NULL"):
            found.append((lines.get(at) or code.co_firstlineno, name, argument, data[at]))
    return found


def _writes(code, scope, names):
    """[(global's name, line)] that a function's code changes, and the names of the globals that it calls or reads."""
    wrote, read = [], []
    steps = _instructions(code, names)
    new_globals, new_attributes = sys.hexversion >= 0x030B0000, sys.hexversion >= 0x030C0000

    def is_global(step):
        if step[1] not in ("LOAD_GLOBAL", "LOAD_NAME"):
            return None
        argument = step[2] >> 1 if new_globals and step[1] == "LOAD_GLOBAL" else step[2]
        return code.co_names[argument] if argument < len(code.co_names) else None

    simple = ("LOAD_FAST", "LOAD_CONST", "LOAD_GLOBAL", "LOAD_DEREF", "LOAD_FAST_CHECK", "LOAD_SMALL_INT",
              "LOAD_FAST_BORROW")  # fmt: skip
    for at, (line, name, argument, _) in enumerate(steps):
        if name in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            wrote.append((code.co_names[argument], line))
            continue
        own = is_global(steps[at])
        if own is None:
            continue
        read.append(own)
        value = scope.get(own)
        following = steps[at + 1] if at + 1 < len(steps) else None
        if following is None or value is None:
            continue
        if following[1] in ("LOAD_METHOD", "LOAD_ATTR"):
            index = following[2] >> 1 if new_attributes and following[1] == "LOAD_ATTR" else following[2]
            method = code.co_names[index] if index < len(code.co_names) else ""
            if method in _CHANGING and isinstance(value, (list, dict, set, bytearray, deque)):
                wrote.append((own, line))
        elif following[1] in ("STORE_ATTR", "DELETE_ATTR") and not isinstance(value, (FunctionType,)):
            wrote.append((own, line))
        elif isinstance(value, (list, dict, bytearray, deque)) and _stores_item(steps, at, simple):
            wrote.append((own, line))
    return wrote, read


def _stores_item(steps, at, simple):
    """Whether the global that is loaded at a step is what a subscript is then stored into: `G[key] = …`, `G[key] += …`.

    The key may be any expression without jumps; the depth of the stack says where it ends."""
    effect = _opcodes[1]
    depth = 0
    rest = steps[at + 1 : at + 60]
    for place, (_, name, argument, code) in enumerate(rest):
        if name in ("STORE_SUBSCR", "DELETE_SUBSCR") and depth == 1:
            return True
        if depth == 1 and name in ("DUP_TOP_TWO", "COPY"):
            # `+=`: both are kept, and the store comes after the next simple line of work.
            return any(step[1] == "STORE_SUBSCR" for step in rest[place : place + 20])
        if "JUMP" in name or name in ("FOR_ITER", "RETURN_VALUE") or effect is None:
            return False
        if name == "LOAD_GLOBAL":
            depth += 1
        else:
            try:
                depth += effect(code, argument) if code >= _argumented() else effect(code)
            except ValueError:
                return False
        if depth < 0:
            return False
        if depth == 0:
            return False
    return False


def _argumented():
    return getattr(sys.modules.get("opcode"), "HAVE_ARGUMENT", 90) if sys.hexversion < 0x030D0000 else 44


def _plain_code(function):
    """A function's own code, also while a hook of ours stands in its place."""
    for named in _hooks.values():
        if named.trampoline is not None and named.trampoline is function.__code__:
            return named.code
    return function.__code__


def _study(stage, function):
    """Looks for module state that a stage's function writes, in it and in functions of its module that it calls."""
    function = _undecorated(function)
    if type(function) is not FunctionType or not _opcode_names():
        return
    scope = function.__globals__
    todo, seen, told = [(_plain_code(function), 0)], set(), 0
    while todo and len(seen) < 40 and told < 5:
        code, level = todo.pop(0)
        if id(code) in seen or len(code.co_code) > 20_000:
            continue
        seen.add(id(code))
        wrote, read = _writes(code, scope, _opcodes[0])
        for name, line in dict(wrote).items():
            file = code.co_filename.rpartition("/")[2]
            _note("shared-state", "writes global `%s` (%s:%d)" % (name, file, line), stage)
            told += 1
        for constant in code.co_consts:
            if type(constant) is CodeType:
                todo.append((constant, level))
        if level < 2:
            for name in read:
                called = scope.get(name)
                if type(called) is FunctionType and called.__globals__ is scope:
                    todo.append((called.__code__, level + 1))


_LOCKS = {
    ("_thread", "lock"), ("_thread", "RLock"), ("threading", "_RLock"), ("threading", "Condition"),
    ("threading", "Semaphore"), ("threading", "BoundedSemaphore"),
}  # fmt: skip


def _locked(stage, function, owner):
    """Looks for a lock of this process that a stage's function names: a global, a variable around it, an attribute of its
    object. Whether threads would queue for it, only a run in threads shows."""
    function = _undecorated(function)
    if type(function) is not FunctionType:
        return
    code = _plain_code(function)
    own = getattr(owner, "__dict__", None)
    around = {}
    for name, cell in zip(code.co_freevars, function.__closure__ or ()):
        try:
            around[name] = cell.cell_contents
        except ValueError:
            pass  # It has none yet.
    for what, scope, names in (
        ("global", function.__globals__, code.co_names),
        ("variable", around, code.co_freevars),
        ("attribute", own if type(own) is dict else {}, code.co_names),
    ):
        for name in names:
            if name not in scope:
                continue
            for base in type(scope[name]).__mro__:
                if (base.__module__, base.__name__) in _LOCKS:
                    _note("lock-unseen", "%s `%s`" % (what, name), stage)
                    return


_OPENED = {
    ("socket", "socket"), ("ssl", "SSLSocket"), ("sqlite3", "Connection"), ("_sqlite3", "Connection"),
    ("psycopg2.extensions", "connection"), ("psycopg", "Connection"), ("pymysql.connections", "Connection"),
    ("MySQLdb.connections", "Connection"), ("pymongo.mongo_client", "MongoClient"),
    ("pymongo.synchronous.mongo_client", "MongoClient"), ("http.client", "HTTPConnection"),
    ("http.client", "HTTPSConnection"), ("_io", "BufferedWriter"), ("_io", "BufferedRandom"), ("_io", "FileIO"),
    ("_io", "TextIOWrapper"), ("_io", "BufferedReader"),
}  # fmt: skip


def _opened(stage, function):
    standard = [sys.__dict__.get(name) for name in ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__")]
    for name, value in list(function.__globals__.items()):
        if any(value is stream for stream in standard):
            continue
        for base in type(value).__mro__:
            if (base.__module__, base.__name__) in _OPENED:
                shown = "%s.%s" % (type(value).__module__, type(value).__qualname__)
                if base.__module__ == "_io" and value.closed:
                    break
                _note("opened-before-fork", "global `%s` (%s) is open in the parent and shared by its forks" % (
                    name, shown.replace("_io.", "io.")), stage)  # fmt: skip
                break


# --------------------------------------------------------------------------------------------------------------------
# Functions named by --stage, called directly
# --------------------------------------------------------------------------------------------------------------------

# What hooks may cost in a window before they are taken off, if that was more than one part in WINDOW_SHARE of it: timing
# some calls takes up to TIMING_SHARE, being called at all a microsecond or two, and more where a call leaves the caches
# cold. They are off for WINDOW_PAUSE at the least. Who puts them back: whatever of ours runs next, a garbage collection,
# and from 3.12 on a line of the caller that was not yet reached (the loop that calls is over).
WINDOW_COST = 1_500_000
WINDOW_PAUSE = 150_000_000
WINDOW_SHARE = 33
# A hook's cost besides what it measures of itself: being called at all.
CALL_COST = 250

_wanted = []  # (name, module, function)
_hooks = {}  # id of a code object -> _Named
_found = set()  # (index of _wanted, whether in the script itself): a module may be there as `__main__` and by its name
_elsewhere = {}  # index of _wanted -> file of the module that it was found in by name
_tool = None
_monitoring = None


def _wanted_name(module, qualified):
    for name, wanted_module, function in _wanted:
        if function == qualified and (wanted_module == module or wanted_module in ("__main__", "") and module == _main_name()):
            return name
    return None


def _matches(wanted_module, module):
    if module is None:
        return False
    return module == wanted_module or (
        module in ("__main__", "__mp_main__") and wanted_module in ("__main__", "__mp_main__", _main_name())
    )


def _code_of(function):
    function = _undecorated(_unwrap(function, (), {})[0]) if function is not None else None
    function = getattr(function, "__func__", function)
    return getattr(function, "__code__", None)


class _Named:
    """A function that is counted wherever it is called from."""

    def __init__(self, name, function, code):
        self.name, self.function, self.code = name, function, code
        self.stages = {}
        self.on = False
        self.epoch = 0
        self.since = self.cost = self.calls = 0
        self.off_at = self.rate = self.seen = self.gap = 0
        self.resumes = bool(code.co_flags & 0x2A0)
        self.caller = None
        self.recursive = False
        self.trampoline = None  # What stands in the function in place of `code`, before 3.12.

    def stage(self, me):
        pool = me.pool
        executor = pool[0] if pool is not None else SERIAL
        if self.code.co_flags & 0x80:
            executor = ASYNCIO
        stage = self.stages.get(executor)
        if stage is None or stage.state is not _state:
            function = self.function() if self.function is not None else None
            module = qualified = None
            if function is not None:
                module, qualified, file, line = _identity(function)
            else:
                module = _module_name(self.module)
                file, line = self.code.co_filename, self.code.co_firstlineno
            stage = _stage(self.name, module, file, line, NAMED, executor, function)
            self.stages[executor] = stage
            self.since, self.cost, self.calls = clock(), 0, 0  # What it took to get to know it is no part of a window.
        return stage

    def enter(self, frame, args, resumed):
        """A call begins, or a generator goes on. `args` is called only if the arguments are wanted."""
        entered = clock()
        me = _me()
        level = me.depth.get(self)
        if level is None or level[1] != self.epoch:
            level = me.depth[self] = [0, self.epoch, None, False]
        level[0] += 1
        if level[0] > 1 or me.direct is not None and (me.direct is self.code or me.direct is self.trampoline):
            # Calls within a call are part of it.
            self.recursive = self.recursive or level[0] > 1
            self.spend(entered, frame)
            return
        stage = self.stage(me)
        if stage is None:
            return
        level[3] = False
        lane = _lane_of(me, stage)
        if lane.left > 0:
            lane.left -= 1
            lane.passed += 1
            level[2] = stage
        else:
            paying = not resumed and not self.resumes and _pay_due(stage)
            if paying:
                function = self.function() if self.function is not None else None
                _pay(stage, me, ARGUMENTS, function, args(), {})
                level[3] = True
            level[2] = _begin(me, stage, lane, clock() if paying else entered, -1, -1, 1, SLICE if self.resumes else 0)
        self.spend(entered, frame)

    def leave(self, failed, ended, result):
        left = clock()
        me = _me()
        level = me.depth.get(self)
        if level is None or level[1] != self.epoch or level[0] < 1:
            return
        level[0] -= 1
        if level[0]:
            return
        token, level[2] = level[2], None
        if token is None:
            return
        stage = token
        if type(token) is tuple:
            stage = token[0]
            _end(token, FAILED if failed else 0)
        if stage.state is not _state:
            return
        if ended:
            stage.done_feed(1)
            stage.done_step()
            stage.tasks += 1
            self.calls += 1
            if failed:
                stage.failed()
            elif level[3]:
                _pay(stage, me, RESULT, None, (result,), None)
                left = clock()
        self.spend(left, None)

    def spend(self, since, frame):
        now = clock()
        self.cost += min(now - since, 20_000) + CALL_COST
        if self.cost > WINDOW_COST:
            elapsed = now - self.since
            if self.cost * WINDOW_SHARE > elapsed:
                if frame is not None:
                    self.pause(now, elapsed, frame)
            else:
                self.settle_gap(elapsed)
                self.since, self.cost, self.calls = now, 0, 0

    def pause(self, now, elapsed, frame):
        """Takes the hooks off. The calls in the meantime are estimated where that can be justified."""
        self.settle_gap(elapsed)
        self.rate = self.calls / max(elapsed - self.cost, elapsed / 20, 1)
        self.seen = self.calls / max(elapsed, 1)
        self.off_at = now
        self.on = False
        for stage in self.stages.values():
            if stage is not None and stage.state is _state:
                _pack_signed(stage.state.memory, SLOT_AT + SLOT_SIZE * stage.number + 96, 1)
                _note("calls-sampled", "calls are too short to be counted one by one", stage)
                stage.state.cost_feed(self.cost)
                stage.state.cost_step()
        self.uninstall(frame)
        _watch_garbage(True)

    def settle_gap(self, elapsed):
        """Before 3.12, a gap's calls are estimated only if they came at a like rate before it and after it."""
        gap, self.gap = self.gap, 0
        seen = self.calls / max(elapsed, 1)
        if gap and self.seen / 2 < seen < self.seen * 2:
            self.estimate(gap * self.rate)

    def estimate(self, calls):
        if self.recursive:
            return  # What comes at this rate are not calls from outside.
        calls = int(calls)
        for stage in self.stages.values():
            if stage is not None and stage.state is _state and calls > 0:
                stage.done_feed(calls)
                stage.done_step()
                stage.tasks += calls
                return

    def resume(self, now, over):
        """Puts the hooks back. `over`: the caller leaves the loop from which it called, in this very moment."""
        if self.on:
            return
        gap = now - self.off_at
        if not over and gap < WINDOW_PAUSE:
            return
        if self.caller is not None:
            self.estimate(gap * self.rate)  # Up to now the caller did not get any further.
        else:
            self.gap = gap
        self.since, self.cost, self.calls = now, 0, 0
        self.on = True
        self.install()


def _watch_garbage(wanted):
    gc = sys.modules.get("gc")
    if gc is None:
        import gc
    if wanted and _collected not in gc.callbacks:
        gc.callbacks.append(_collected)
    elif not wanted and _collected in gc.callbacks:
        gc.callbacks.remove(_collected)


def _collected(phase, info):
    try:
        if phase == "stop":
            now = clock()
            paused = False
            for named in list(_hooks.values()):
                if not named.on:
                    named.resume(now, False)
                    paused = paused or not named.on
            if not paused:
                _watch_garbage(False)
    except Exception as error:
        if _foreign(error):
            raise


# -- 3.12 and later: sys.monitoring


class _Monitored(_Named):
    ticking = False
    suspended = None

    def install(self):
        events = _monitoring.events
        self.outermost_ended()
        self.epoch += 1
        local = events.PY_START | events.PY_RETURN
        if self.resumes:
            local |= events.PY_RESUME | events.PY_YIELD
        if self.ticking:
            self.ticking = False
            _monitoring.set_local_events(_second, self.code, 0)
        if self.caller is not None:
            if self.caller is not self.code:
                _monitoring.set_local_events(_tool, self.caller, 0)
            _callers.pop(id(self.caller), None)
            self.caller = None
        _monitoring.set_local_events(_tool, self.code, local)
        _unwinding()
        if not _main_found():
            _monitoring.restart_events()  # The search has silenced the place where this one begins.

    def outermost_ended(self):
        if self.suspended is not None:
            me, level = self.suspended
            self.suspended = None
            if me is _me() and level is not None and level[0] > 0 and level[1] == self.epoch:
                level[0] = 1
                self.leave(False, True, None)

    def uninstall(self, frame):
        _monitoring.set_local_events(_tool, self.code, 0)
        _unwinding()
        if self.recursive:
            # The outermost call's end is seen by its caller's next line.
            outer = frame
            while frame is not None:
                if frame.f_code is self.code:
                    outer = frame
                frame = frame.f_back
            me = _me()
            self.suspended = me, me.depth.get(self)
            self.watch_caller(outer.f_back)
            return
        self.epoch += 1
        if _second is None or any(getattr(named, "ticking", False) for named in _hooks.values()):
            self.watch_caller(frame.f_back)
            return
        # How often it is called is told by a hook that runs in C for all but each 200th call.
        self.ticking = True
        bare = _hook_cost()
        steps = chain.from_iterable(self.tick(bare))
        _monitoring.register_callback(_second, _monitoring.events.PY_START, property(partial(next, steps)).__get__)
        _monitoring.set_local_events(_second, self.code, _monitoring.events.PY_START)

    def tick(self, bare):
        shortest = None
        try:
            for _ in range(TICKS):
                began = clock()
                yield repeat(None, TICK_CALLS)
                took = clock() - began
                shortest = took if shortest is None else min(shortest, took)
                self.estimate(TICK_CALLS)
                if not self.ticking:
                    break
            if self.ticking:
                self.ticking = False
                _monitoring.set_local_events(_second, self.code, 0)
                self.rate = 1 / max(shortest / TICK_CALLS - bare, 10)
                self.off_at = clock()
                frame = sys._getframe(1)
                while frame is not None and frame.f_code is not self.code:
                    frame = frame.f_back
                self.watch_caller(frame.f_back if frame is not None else None)
        except Exception as error:
            if _foreign(error):
                raise
        while True:
            yield repeat(None, 1 << 30)

    def watch_caller(self, caller):
        events = _monitoring.events
        if caller is not None and caller.f_code is not self.code and id(caller.f_code) not in _hooks:
            self.caller = caller.f_code
            _callers[id(self.caller)] = (self, self.caller, caller.f_lineno)
            _monitoring.set_local_events(_tool, self.caller, events.LINE | events.PY_RETURN)


TICKS, TICK_CALLS = 9, 200
_second = None
_bare = None


def _hook_cost():
    """What the hook in C costs each call, at the least: with and without, on a function of our own."""
    global _bare
    if _bare is None:

        def nothing(argument):
            return argument

        def shortest():
            best = None
            for _ in range(TICKS):
                began = clock()
                for _ in range(TICK_CALLS):
                    nothing(0)
                took = clock() - began
                best = took if best is None else min(best, took)
            return best

        without = shortest()
        events = _monitoring.events
        steps = repeat(None)
        _monitoring.register_callback(_second, events.PY_START, property(partial(next, steps)).__get__)
        _monitoring.set_local_events(_second, nothing.__code__, events.PY_START)
        _bare = max(shortest() - without, 0) / TICK_CALLS
        _monitoring.set_local_events(_second, nothing.__code__, 0)
    return _bare


_callers = {}


def _unwinding():
    """Exceptions can be watched in all code or in none: watched while a hook is on that was met at all."""
    wanted = any(named.on for named in _hooks.values())
    events = _monitoring.events
    # Functions of the script itself are found when they are first called; those of modules, when these are imported.
    searching = not _main_found()
    _monitoring.set_events(_tool, (events.PY_UNWIND if wanted else 0) | (events.PY_START if searching else 0))


def _on_start(code, offset):
    try:
        named = _hooks.get(id(code))
        if named is not None:
            if named.on:
                frame = sys._getframe(1)
                named.enter(frame, lambda: _frame_arguments(frame), False)
                return None
            return _disable  # Met in passing, by the search for another one.
        if code.co_name in _names:
            _search(code, sys._getframe(1))
            if id(code) in _hooks:
                return None
    except Exception as error:
        if _foreign(error):
            raise
    return _disable


def _on_resume(code, offset):
    try:
        named = _hooks.get(id(code))
        if named is not None and named.on:
            named.enter(sys._getframe(1), None, True)
    except Exception as error:
        if _foreign(error):
            raise


def _on_return(code, offset, value):
    try:
        named = _hooks.get(id(code))
        if named is not None:
            named.leave(False, True, value)
        elif id(code) in _callers:
            _left(code)
    except Exception as error:
        if _foreign(error):
            raise


def _on_yield(code, offset, value):
    try:
        named = _hooks.get(id(code))
        if named is not None:
            named.leave(False, False, None)
    except Exception as error:
        if _foreign(error):
            raise


def _on_unwind(code, offset, exception):
    try:
        named = _hooks.get(id(code))
        if named is not None:
            named.leave(True, True, None)
    except Exception as error:
        if _foreign(error):
            raise


def _on_line(code, line):
    """The caller's lines, each once. Those of the loop come within its next round; a later one means that it is over."""
    try:
        entry = _callers.get(id(code))
        if entry is not None and entry[1] is code:
            named = entry[0]
            now = clock()
            # A loop's first rounds go over lines that were not seen yet; they count as part of it.
            if named.suspended is not None:
                named.outermost_ended()
                if now - named.since > 20 * WINDOW_COST:
                    _left(code, now)
            elif now - named.off_at > 2_000_000 or line > entry[2]:
                _left(code, now)
    except Exception as error:
        if _foreign(error):
            raise
    return _disable


def _left(code, now=None):
    entry = _callers.get(id(code))
    if entry is not None and entry[1] is code:
        entry[0].resume(now or clock(), True)


def _frame_arguments(frame, values=None):
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if values is None:
        values = frame.f_locals
    arguments = [values[name] for name in names if name in values]
    if code.co_flags & 4 and code.co_varnames[len(names)] in values:
        arguments.extend(values[code.co_varnames[len(names)]])
    return tuple(arguments)


def _search(code, frame):
    qualified = code.co_qualname
    module = frame.f_globals.get("__name__")
    known = id(code) in _hooks
    for index, (name, wanted_module, function) in enumerate(_wanted):
        if (index, _is_main(module)) not in _found and function == qualified and _matches(wanted_module, module):
            _arm(index, name, _resolve(sys.modules.get(module), function), code, module)
    if not known and id(code) in _hooks:
        frame_ = frame
        _hooks[id(code)].enter(frame_, lambda: _frame_arguments(frame_), False)


def _start_monitoring():
    global _tool, _second, _monitoring, _disable
    monitoring = sys.monitoring
    for tool in (4, 3):
        if monitoring.get_tool(tool) is None:
            break
    else:
        _note("stage-refused", "both of the interpreter's free monitoring tools are taken")
        return
    monitoring.use_tool_id(tool, "poolpick")
    if tool == 4 and monitoring.get_tool(3) is None:
        monitoring.use_tool_id(3, "poolpick")
        _second = 3
    _tool, _monitoring, _disable = tool, monitoring, monitoring.DISABLE
    events = monitoring.events
    for event, callback in (
        (events.PY_START, _on_start),
        (events.PY_RESUME, _on_resume),
        (events.PY_RETURN, _on_return),
        (events.PY_YIELD, _on_yield),
        (events.PY_UNWIND, _on_unwind),
        (events.LINE, _on_line),
    ):
        monitoring.register_callback(tool, event, callback)
    _unwinding()


# -- before 3.12: another code object in the function's place


class _Hook:
    """Stands in a function's code and calls what the function was. Pickled by value, it is that function."""

    __slots__ = ("named", "plain")

    def __init__(self, named, plain):
        self.named, self.plain = named, plain

    def __reduce__(self):
        return getattr, (self.plain, "__call__")

    def __call__(self, *args, **kwargs):
        named = self.named
        if named.resumes:
            return _Steps(named, self.plain(*args, **kwargs))
        try:
            hooked = named.on
            if hooked:
                named.enter(sys._getframe(1), lambda: args + ((kwargs,) if kwargs else ()), False)
        except Exception as error:
            if _foreign(error):
                raise
            hooked = False
        if not hooked:
            return self.plain(*args, **kwargs)
        try:
            result = self.plain(*args, **kwargs)
        except BaseException:
            try:
                named.leave(True, True, None)
            except Exception as error:
                if _foreign(error):
                    raise
            raise
        try:
            named.leave(False, True, result)
        except Exception as error:
            if _foreign(error):
                raise
        return result


class _Steps:
    """A generator's or a coroutine's steps, each a slice of its call."""

    def __init__(self, named, inner):
        self.named, self.inner = named, inner

    def step(self, method, *arguments):
        named = self.named
        hooked = False
        try:
            if named.on:
                hooked = True
                named.enter(sys._getframe(2), None, True)
        except Exception as error:
            if _foreign(error):
                raise
        failed = ended = True
        try:
            value = getattr(self.inner, method)(*arguments)
            failed = ended = False
            return value
        except StopIteration:
            failed = False
            raise
        finally:
            try:
                if hooked:
                    named.leave(failed, ended, None)
            except Exception as error:
                if _foreign(error):
                    raise

    def __iter__(self):
        return self

    __await__ = __iter__

    def __next__(self):
        return self.step("__next__") if hasattr(self.inner, "__next__") else self.step("send", None)

    def send(self, value):
        return self.step("send", value)

    def throw(self, *arguments):
        return self.step("throw", *arguments)

    def close(self):
        return self.inner.close()


class _Swapped(_Named):
    def prepare(self, function):
        code = function.__code__
        plain = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
        plain.__kwdefaults__ = function.__kwdefaults__
        plain.__qualname__, plain.__module__ = function.__qualname__, function.__module__
        if code.co_flags & 0x200:
            raise _Refusal("asynchronous generators need Python 3.12")
        self.trampoline = _trampoline(code, _Hook(self, plain))

    def install(self):
        function = self.function()
        if function is not None and function.__code__ is self.code:
            function.__code__ = self.trampoline

    def uninstall(self, frame):
        function = self.function()
        if function is not None and function.__code__ is self.trampoline:
            function.__code__ = self.code


def _trampoline(code, hook):
    """A code object with the signature, the flags, the place and the free variables of another, which calls `hook`."""
    arguments, passed = [], []
    names = code.co_varnames
    positional = getattr(code, "co_posonlyargcount", 0)
    # The arguments are renamed back at the end: their own names could be those of free variables, or odd.
    for index in range(code.co_argcount):
        arguments.append("a%d" % index)
        passed.append("a%d" % index)
        if positional and index + 1 == positional:
            arguments.append("/")
    at = code.co_argcount
    keywords = names[at : at + code.co_kwonlyargcount]
    at += code.co_kwonlyargcount
    if code.co_flags & 4:
        arguments.append("*v")
        passed.append("*v")
    elif keywords:
        arguments.append("*")
    for index, name in enumerate(keywords):
        arguments.append("k%d" % index)
        if not name.isidentifier():
            raise _Refusal("its arguments have names that cannot be written")
        passed.append("%s=k%d" % (name, index))
    if code.co_flags & 8:
        arguments.append("**w")
        passed.append("**w")
    free = code.co_freevars
    lines = ["def outer():"]
    lines += ["    f%04d = None" % index for index in range(len(free))]
    # The hook is a constant: so the function needs no name for it, and takes it along where it is pickled by value.
    # (A constant that is called outright would be warned of.)
    head, call = "def", "(%r if 1 else 0)(%s)" % (_PLACE, ", ".join(passed))
    if code.co_flags & 0x80:
        head, call = "async def", "await " + call
    elif code.co_flags & 0x20:
        call = "(yield from %s)" % call
    lines.append("    %s tramp(%s):" % (head, ", ".join(arguments)))
    if free:
        lines.append("        if 0: %s" % ", ".join("f%04d" % index for index in range(len(free))))
    lines.append("        return %s" % call)
    compiled = compile("\n".join(lines), code.co_filename, "exec", dont_inherit=True)
    outer = next(part for part in compiled.co_consts if type(part) is CodeType)
    inner = next(part for part in outer.co_consts if type(part) is CodeType)
    named = {
        "co_name": code.co_name,
        "co_varnames": names[: len(inner.co_varnames)],
        "co_freevars": free,
        "co_firstlineno": code.co_firstlineno,
        "co_consts": tuple(hook if known == _PLACE else known for known in inner.co_consts),
    }
    if hasattr(inner, "co_qualname"):
        named["co_qualname"] = code.co_qualname
    return inner.replace(**named)


_PLACE = "poolpick's hook"


# -- both


def _resolve(module, function):
    """What MODULE:FUNCTION stands for, without running properties."""
    thing = module
    for part in function.split("."):
        own = getattr(thing, "__dict__", {})
        found = own.get(part)
        if found is None and isinstance(thing, type):
            for base in thing.__mro__:
                if part in base.__dict__:
                    found = base.__dict__[part]
                    break
        if found is None:
            return None
        thing = found
    if isinstance(thing, (staticmethod, classmethod)):
        thing = thing.__func__
    return thing


def _innermost(thing, name):
    """The Python function below what decorators made of it: by `__wrapped__`, else by its name in the closure."""
    function = _undecorated(thing)
    while isinstance(function, partial):
        function = _undecorated(function.func)
    if type(function) is MethodType:
        function = function.__func__
    if isinstance(function, property) and function.fget is not None:
        function = function.fget
    if type(function) is FunctionType and function.__name__ != name:
        for cell in function.__closure__ or ():
            try:
                held = cell.cell_contents
            except ValueError:
                continue
            if type(held) is FunctionType and held.__name__ == name:
                return held
    return function


def _arm(index, name, thing, code, module):
    """Begins to measure a named function: by the code that was met, or by what its name stands for."""
    last = _wanted[index][2].rpartition(".")[2]
    function = _innermost(thing, last) if thing is not None else None
    if code is None:
        own = getattr(function, "__code__", None)
        if type(function) is not FunctionType or type(own) is not CodeType:
            kind = "a class" if isinstance(function, type) else "`%s`" % type(function).__qualname__
            _found.update(((index, False), (index, True)))
            _note("stage-refused", "%s: %s has no Python code that could be measured" % (name, kind))
            return
        code = own
    elif type(function) is not FunctionType or function.__code__ is not code:
        function = None  # The name stands for something else by now; the code is what was called.
    _found.add((index, _is_main(module)))
    if not _is_main(module):
        _elsewhere[index] = getattr(sys.modules.get(module), "__file__", None)
    known = next((hook for hook in _hooks.values() if code is hook.code or code is hook.trampoline), None)
    if known is not None:
        if known.name == name:
            return  # The script has imported it.
        _note("stage-refused", "%s: it is the function that is counted as %s" % (name, known.name))
        return
    made = (_Swapped if _tool is None else _Monitored)(name, None, code)
    made.module = module
    if function is not None:
        made.function = _weakref.ref(function)
    if _tool is None:
        try:
            made.prepare(function)
        except Exception as error:
            if _foreign(error):
                raise
            _note("stage-refused", "%s: %s" % (name, error))
            return
    _hooks[id(code)] = made
    made.since, made.on = clock(), True
    made.install()


def _look(module_name, module, complete=True):
    """Looks for wanted functions in a module that was imported."""
    for index, (name, wanted_module, function) in enumerate(_wanted):
        if (index, _is_main(module_name)) in _found or not _matches(wanted_module, module_name):
            continue
        thing = _resolve(module, function)
        if thing is not None:
            _arm(index, name, thing, None, module_name)
        elif complete and not _main_unnamed() and wanted_module != _main_name():
            _note("stage-refused", "%s: module `%s` has no `%s`" % (name, wanted_module, function))


def _tracer(frame, event, argument):
    """Before 3.12: waits for functions of the script itself, of which no import tells."""
    try:
        if frame.f_globals.get("__name__") in ("__main__", "__mp_main__") and frame.f_code.co_name == "<module>":
            _look("__main__", sys.modules.get("__main__"), False)
            if frame.f_globals.get("__name__") == "__mp_main__":
                _look_scope(frame.f_globals)
            if _main_found():
                sys.settrace(None)
                return None
            return _tracer
    except Exception as error:
        if _foreign(error):
            raise
    return None


class _Scope:
    pass


def _look_scope(scope):
    module = _Scope()
    module.__dict__.update(scope)
    _look("__main__", module, False)


def _main_unnamed():
    """With `python3 -m`, before the module begins: which one it is isn't told yet."""
    main = sys.modules.get("__main__")
    return (getattr(sys, "argv", None) or [""])[0] == "-m" and getattr(main, "__spec__", None) is None


def _main_found():
    unnamed = _main_unnamed()
    for index, (_, module, _function) in enumerate(_wanted):
        if (index, True) in _found or not (unnamed or _matches(module, "__main__")):
            continue
        if index not in _elsewhere or _same_file(_elsewhere[index]):
            return False
        _found.add((index, True))
    return True


def _is_main(module):
    return module in ("__main__", "__mp_main__")


def _same_file(file):
    """Whether the script itself is this file, as far as that is known: a package isn't its `__main__.py`."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if not isinstance(main, str):
        return True  # Not begun.
    try:
        one, other = posix.stat(main), posix.stat(file)
    except (OSError, TypeError, ValueError):
        return False
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


_names = frozenset()


def _read_stages(text):
    global _names
    for line in text.split("\n"):
        name, _, place = line.partition("=")
        if not place:
            continue
        module, colon, function = place.partition(":")
        if not colon:
            module, _, function = place.rpartition(".")
        if function:
            _wanted.append((name, module, function))
    _names = frozenset(function.rpartition(".")[2] for _, _, function in _wanted)


def _start_stages():
    if sys.hexversion >= 0x030C0000 and hasattr(sys, "monitoring"):
        _start_monitoring()
    for index, (name, module, _function) in enumerate(_wanted):
        if module in sys.modules and module not in ("__main__", "__mp_main__"):
            _look(module, sys.modules[module])
        elif module in sys.builtin_module_names:
            _found.update(((index, False), (index, True)))
            _note("stage-refused", "%s: module `%s` has no Python code" % (name, module))
    if _tool is None and sys.gettrace() is None and not _main_found():
        sys.settrace(_tracer)


# --------------------------------------------------------------------------------------------------------------------
# Marks: `with poolpick.stage("parse"):`
# --------------------------------------------------------------------------------------------------------------------


def mark_begin(name):
    """Called by the package `poolpick`. Returns what `mark_end` wants, or None."""
    try:
        entered = clock()
        me = _me()
        events = sys.modules.get("asyncio.events")
        waiting = events is not None and events._get_running_loop() is not None
        executor = ASYNCIO if waiting else me.pool[0] if me.pool is not None else SERIAL
        stage = _stage(_short(name), "", "", 0, MARK, executor)
        if stage is None:
            return None
        if waiting:
            # Other tasks run on this thread meanwhile: begin and end are no stack here.
            return stage, me, entered
        lane = _lane_of(me, stage)
        if lane.left > 0:
            lane.left -= 1
            lane.passed += 1
            return stage
        return _begin(me, stage, lane, entered, -1, -1, 1, 0)
    except Exception as error:
        if _foreign(error):
            raise
        return None


def mark_end(token, failed):
    try:
        stage = token
        if type(token) is tuple:
            stage = token[0]
            if stage.state is _state:
                if len(token) == 3:
                    now = clock()
                    wall = now - token[2]
                    flags = NO_BEGIN | (FAILED if failed else 0)
                    _record(END, flags, stage.number, token[1].number, 0, now, 0, wall, 1)
                    for index, amount in ((0, 1), (1, wall)):
                        feed, step = stage.feeds[index]
                        feed(amount)
                        step()
                else:
                    _end(token, FAILED if failed else 0)
        if stage is not None and stage.state is _state:
            stage.done_feed(1)
            stage.done_step()
            stage.tasks += 1
            if failed:
                stage.failed()
    except Exception as error:
        if _foreign(error):
            raise


# --------------------------------------------------------------------------------------------------------------------
# Start: imports are watched for the modules of interest, and for those alone
# --------------------------------------------------------------------------------------------------------------------

_interest = {
    "concurrent.futures._base": _hook_futures,
    "concurrent.futures.thread": _hook_thread,
    "concurrent.futures.process": _hook_process,
    "multiprocessing.pool": _hook_pool,
    "asyncio.events": _hook_events,
    "asyncio.base_events": _hook_base_events,
    "loky.process_executor": _hook_process,
    "joblib.externals.loky.process_executor": _hook_process,
}


def _imported(name, module):
    hook = _interest.pop(name, None)
    try:
        if hook is not None:
            hook(module)
        if _wanted and name in _modules:
            _look(name, module)
    except Exception as error:
        if _foreign(error):
            raise


_modules = frozenset()


def exec_module(loader, name, module):
    # Only for this one module: some loaders (of zip files) serve several.
    if module.__name__ != name:
        return type(loader).exec_module(loader, module)
    loader.__dict__.pop("exec_module", None)
    loader.exec_module(module)
    _imported(name, module)


# Import errors show no frames of the import system: what stands between two of them goes too.
exec_module.__code__ = exec_module.__code__.replace(co_filename="<frozen importlib._bootstrap>")


class _Finder:
    """Stands first among the finders, looks for nothing itself, and notes when a module of interest is loaded."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in _interest and name not in _modules:
            return None
        try:
            for finder in sys.meta_path:
                if finder is _Finder or not hasattr(finder, "find_spec"):
                    continue
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    loader = spec.loader
                    if loader is not None and not isinstance(loader, type) and hasattr(loader, "exec_module"):
                        loader.exec_module = partial(exec_module, loader, name)
                    return spec
        except Exception as error:
            if _foreign(error):
                raise
        return None  # The others look again, and fail as without us.


def _forked_child():
    global _state
    try:
        old = _state
        _state = _State(old.directory, True)
        old.forget()
        for named in _hooks.values():
            named.epoch += 1
    except Exception:
        pass


_state = _State(None, False)


def start():
    global _state, _modules
    environment = posix.environ
    directory = environment.get(b"POOLPICK_CHANNEL")
    if not directory or not directory.startswith(b"/"):
        return
    directory = sys.modules["os"].fsdecode(directory) if "os" in sys.modules else directory.decode()
    _state = _State(directory, False)
    if not _state.usable():
        return
    wanted = environment.get(b"POOLPICK_STAGES")
    if wanted:
        _read_stages(wanted.decode("utf-8", "backslashreplace"))
        _modules = frozenset(module for _, module, _ in _wanted)
    posix.register_at_fork(after_in_child=_forked_child)
    for name in list(_interest):
        if name in sys.modules:
            _imported(name, sys.modules[name])
    sys.meta_path.insert(0, _Finder)
    if _wanted:
        _start_stages()
