"""Reads a channel (docs/agent-channel.md) on its own account, for the tests of the agent."""

import os
import struct

SIZE = 0x40000
KINDS = {1: "begin", 2: "end", 3: "coroutine", 4: "queue", 5: "arguments", 6: "result", 7: "stall"}
EXECUTORS = ["unknown", "serial", "thread", "process", "interpreter", "asyncio"]
SLOTS = (
    "tasks failed timed wall cpu_tasks cpu queue_tasks queue depth peak lost begun estimated cancelled r14 r15".split()
)


class File:
    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            data = self.data = file.read()
        assert len(data) == SIZE, len(data)
        self.ready = data[:8] == b"PPAGENT1"
        (self.version, self.pid, self.began, self.hexversion, self.flags, self.complete, self.count, self.last,
         self.dropped, self.cost) = struct.unpack_from("<IIQIIIIQQQ", data, 8)  # fmt: skip
        assert self.ready and self.version == 1 and os.path.basename(path).split(".")[0] == str(self.pid)
        self.stages, self.notes = {}, []
        at, end = 0x4000, 0x4000 + self.complete
        while at < end:
            kind, zero, length = struct.unpack_from("<HHI", data, at)
            assert zero == 0 and kind in (1, 2) and at + 8 + length <= end
            self.define(kind, data[at + 8 : at + 8 + length])
            at += 8 + (length + 3) // 4 * 4
        for number, stage in self.stages.items():
            stage.update(zip(SLOTS, struct.unpack_from("<16Q", data, 64 + 128 * number)))
        self.records = []
        for number in range(max(1, self.last - 4095), self.last + 1):
            place = 0x10000 + 48 * ((number - 1) % 4096)
            first, kind, flags, stage, thread, x, when, a, b, y, again = struct.unpack_from("<IBBHIIQQQII", data, place)
            assert first == again == number & 0xFFFFFFFF, (first, again, number)
            self.records.append(dict(kind=KINDS[kind], flags=flags, stage=stage, thread=thread, x=x, when=when, a=a,
                                     b=b, y=y))  # fmt: skip

    def define(self, kind, body):
        def texts(at):
            found = []
            while at < len(body):
                (length,) = struct.unpack_from("<H", body, at)
                found.append(body[at + 2 : at + 2 + length].decode("utf-8"))
                at += 2 + length
            return found

        if kind == 1:
            number, what, executor, workers, line = struct.unpack_from("<HBBII", body)
            name, module, file, pool, start = texts(12)
            self.stages[number] = dict(number=number, what=what, executor=EXECUTORS[executor], workers=workers,
                                       line=line, name=name, module=module, file=file, pool=pool, start=start)  # fmt: skip
        else:
            (number, _) = struct.unpack_from("<HH", body)
            code, detail = texts(4)
            self.notes.append((None if number == 0xFFFF else number, code, detail))


def begun(path):
    """Whether the file ever was ready: a pool that ends kills a worker that it has just started, also while it makes its file."""
    with open(path, "rb") as file:
        return os.path.getsize(path) == SIZE and file.read(8) != bytes(8)


def read(directory):
    paths = [os.path.join(directory, name) for name in sorted(os.listdir(directory))]
    return [File(path) for path in paths if begun(path)]


class Run:
    """All processes of a run, their stages added up by name and executor."""

    def __init__(self, directory):
        self.files = read(directory)
        self.stages = {}
        self.notes = []
        for file in self.files:
            for number, stage in file.stages.items():
                key = (stage["name"], stage["executor"])
                total = self.stages.setdefault(key, dict(stage, records=[], processes=0, **{name: 0 for name in SLOTS}))
                for name in SLOTS:
                    total[name] += stage[name]
                for name in ("workers", "start", "pool", "what", "line"):
                    total[name] = total[name] or stage[name]
                total["processes"] += 1
                total["records"] += [record for record in file.records if record["stage"] == number]
            for number, code, detail in file.notes:
                self.notes.append((file.stages[number]["name"] if number is not None else None, code, detail))

    def payloads(self, name, executor, kind):
        return [record["a"] for record in self.stages[name, executor]["records"] if record["kind"] == kind]

    def show(self):
        for (name, executor), stage in sorted(self.stages.items()):
            print("%-40s %-8s w=%-3d %-10s %s" % (name, executor, stage["workers"], stage["start"], stage["pool"]))
            print("    " + " ".join("%s=%d" % (key, stage[key]) for key in SLOTS if stage[key]))
            kinds = {}
            for record in stage["records"]:
                kinds.setdefault(record["kind"], []).append(record)
            for kind, records in kinds.items():
                print("    %s x%d e.g. %s" % (kind, len(records), {k: records[0][k] for k in ("flags", "x", "a", "b", "y")}))
        for note in self.notes:
            print("  note", note)
        print("  cost ns", [file.cost for file in self.files], "records", [file.last for file in self.files])


if __name__ == "__main__":
    import sys

    Run(sys.argv[1]).show()
