"""Runs a stage with the settings that a report gives for an engine, and says under what it ran: one JSON object with
`ran` (thread, process or serial), `workers` and `sum`. The report is on stdin; exits with 77 where the engine is missing."""

import ast
import json
import os
import sys
import threading
import time


def where(item):
    time.sleep(0.02)
    return item, os.getpid(), threading.get_ident()


def settings_of(report):
    advice = report["stages"][0]["recommendation"]["engine"]
    return advice["name"], {setting["name"]: ast.literal_eval(setting["value"]) for setting in advice["settings"]}


def in_joblib(settings):
    import joblib

    # As the advice says: a backend goes to `parallel_config`, the rest to `Parallel`.
    own = ("prefer", "n_jobs", "batch_size") if "prefer" in settings or len(settings) == 1 else ("batch_size",)
    mine = {name: settings.pop(name) for name in own if name in settings}
    with joblib.parallel_config(**settings):
        return joblib.Parallel(**mine)(joblib.delayed(where)(item) for item in range(200))


def in_dask(settings):
    import dask
    import distributed

    if "scheduler" in settings:
        return dask.compute(*[dask.delayed(where)(item) for item in range(20)], **settings)
    with distributed.LocalCluster(dashboard_address=None, **settings) as cluster, distributed.Client(cluster) as client:
        return client.gather(client.map(where, range(200)))


def main():
    name, settings = settings_of(json.load(sys.stdin))
    try:
        ended = {"joblib": in_joblib, "dask": in_dask}[name](settings)
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(77)
    processes = {pid for _, pid, _ in ended}
    threads = {thread for _, _, thread in ended}
    ran = "process" if processes - {os.getpid()} else "thread" if threads - {threading.get_ident()} else "serial"
    workers = len(processes) if ran == "process" else len(threads)
    print(json.dumps({"ran": ran, "workers": workers, "sum": sum(item for item, _, _ in ended)}))


if __name__ == "__main__":
    main()
