"""Times pickle on this interpreter and prints one JSON line. Python 3.8 and later, standard library only."""

import json
import pickle
import platform
import sys
import time

BUDGET_SECONDS = 0.012
BATCH = 100
clock = time.perf_counter


def middle(samples):
    return sorted(samples)[len(samples) // 2]


def cost(run, parts):
    """Seconds of one of the parts that `run` consists of: the median and its median absolute deviation."""
    run()
    samples = []
    end = clock() + BUDGET_SECONDS
    while len(samples) < 5 or (clock() < end and len(samples) < 2000):
        began = clock()
        run()
        samples.append((clock() - began) / parts)
    value = middle(samples)
    return {"value": value, "deviation": middle([abs(sample - value) for sample in samples])}


def payload(value):
    pickled = pickle.dumps(value)
    return {
        "dumps_seconds_per_byte": cost(lambda: pickle.dumps(value), len(pickled)),
        "loads_seconds_per_byte": cost(lambda: pickle.loads(pickled), len(pickled)),
    }


def nothing():
    for _ in range(BATCH):
        pickle.loads(pickle.dumps(None))


RECORDS = [{"id": i, "name": "record-%d" % i, "score": i * 0.5, "active": i % 2 == 0} for i in range(2000)]

print(
    json.dumps(
        {
            "bytes": payload(bytes(range(256)) * 4096),
            "records": payload(RECORDS),
            "fixed_seconds": cost(nothing, BATCH),
            "protocol": pickle.DEFAULT_PROTOCOL,
            "interpreter": sys.executable or "",
            "version": "%s %s" % (platform.python_implementation(), platform.python_version()),
        }
    )
)
