"""Compares what Prometheus answers with the JSON report of the same run, and runs every query of the dashboard.

Python 3.8 or later, standard library only. Called by try.sh:
    verify.py serve FILE PORT     serves FILE as OpenMetrics until it is killed
    verify.py port                prints a free port
    verify.py compare URL REPORT PIPELINE DASHBOARD
"""

import http.server
import json
import os
import re
import socket
import sys
import time
import urllib.parse
import urllib.request

PATIENCE_SECONDS = 60

# Where the JSON report has what a series of a stage says; written apart from poolpick's own table on purpose.
OF_STAGES = [
    ("poolpick_stage_score_ratio", {}, lambda stage: stage["score"]),
    ("poolpick_stage_duration_seconds", {}, lambda stage: stage["time"]["wall_seconds"]),
    ("poolpick_stage_cpu_utilization_ratio", {}, lambda stage: stage["cpu_wall_ratio"]),
    ("poolpick_stage_cpu_time_seconds", {"cpu_mode": "user"}, lambda stage: stage["time"]["cpu_user_seconds"]),
    ("poolpick_stage_cpu_time_seconds", {"cpu_mode": "system"}, lambda stage: stage["time"]["cpu_system_seconds"]),
    ("poolpick_stage_thread_time_seconds", {"poolpick_thread_state": "running"}, lambda s: s["time"]["cpu_seconds"]),
    ("poolpick_stage_thread_time_seconds", {"poolpick_thread_state": "runnable"}, lambda s: s["time"]["run_queue_seconds"]),
    ("poolpick_stage_context_switches", {"process_context_switch_type": "voluntary"}, lambda s: s["context_switches"]["voluntary"]),
    ("poolpick_stage_context_switches", {"process_context_switch_type": "involuntary"}, lambda s: s["context_switches"]["involuntary"]),
    ("poolpick_stage_memory_peak_bytes", {}, lambda stage: stage["memory"]["rss_peak_bytes"]),
    ("poolpick_stage_tasks", {}, lambda stage: stage["tasks"] and stage["tasks"]["count"]),
    ("poolpick_stage_workers", {}, lambda stage: stage["runs_as"] and stage["runs_as"]["workers"]),
    ("poolpick_stage_misrouting_cost_ratio", {}, lambda stage: stage["misrouting_cost"]),
    ("poolpick_stage_routed", {}, lambda stage: {"fits": 1, "misrouted": 0}.get(stage["verdict"])),
    ("poolpick_stage_gil_share_ratio", {}, lambda stage: stage["gil"] and stage["gil"]["share_of_cpu"]),
]
OF_RUNS = [
    ("poolpick_run_duration_seconds", lambda report: report["target"]["wall_seconds"]),
    ("poolpick_run_exit_code", lambda report: report["target"]["exit_code"]),
    ("poolpick_run_memory_peak_bytes", lambda report: report["totals"]["peak_rss_bytes"]),
    ("poolpick_run_measurement_overhead_seconds", lambda report: report["sources"]["overhead_cpu_seconds"]),
    ("poolpick_run_lost_records", lambda report: report["sources"]["lost_records"]),
]


def serve(path, port):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            with open(path, "rb") as file:
                body = file.read()
            self.send_response(200)
            self.send_header("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    http.server.HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Prometheus:
    def __init__(self, url):
        self.url = url

    def get(self, path, **parameters):
        url = "%s/api/v1/%s?%s" % (self.url, path, urllib.parse.urlencode(parameters))
        with urllib.request.urlopen(url, timeout=10) as answer:
            answer = json.load(answer)
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression):
        return self.get("query", query=expression)["result"]

    def wait_for(self, expression, enough):
        """Waits until both jobs have been scraped."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            try:
                if len(self.query(expression)) >= enough:
                    return
            except OSError:
                pass
            time.sleep(0.3)
        raise SystemExit("Prometheus has no %s after %d s; targets: %s" % (expression, PATIENCE_SECONDS, self.targets()))

    def targets(self):
        try:
            return [(t["scrapeUrl"], t["health"], t["lastError"]) for t in self.get("targets")["activeTargets"]]
        except OSError as error:
            return error


def same(told, known):
    return abs(told - known) <= 1e-9 * max(1.0, abs(known))


def selector(labels):
    return "{%s}" % ",".join('%s="%s"' % (name, text.replace("\\", "\\\\").replace('"', '\\"')) for name, text in labels.items())


def compare(prometheus, report, pipeline):
    names = [stage["name"] for stage in report["stages"]]
    wrong, compared = [], 0
    for job in ("node", "openmetrics"):
        identity = {"job": job, "poolpick_pipeline_name": pipeline}
        expected = [(name, identity, value(report)) for name, value in OF_RUNS]
        for stage in report["stages"]:
            if names.count(stage["name"]) > 1:
                continue
            own = dict(identity, poolpick_stage_name=stage["name"])
            expected += [(name, dict(own, **labels), value(stage)) for name, labels, value in OF_STAGES]
            expected.append(("poolpick_stage_class", dict(own, poolpick_stage_class=stage["class"]), 1))
        for name, labels, known in expected:
            expression = name + selector(labels)
            told = [float(series["value"][1]) for series in prometheus.query(expression)]
            # What the report does not know has no series, rather than 0.
            fits = told == [] if known is None else len(told) == 1 and same(told[0], known)
            compared += known is not None
            if not fits:
                wrong.append("%s: report %s, Prometheus %s" % (expression, known, told))
    assert not wrong, "\n".join(wrong)
    assert compared > 20, compared
    print("%d values are those of the report, by node_exporter and by OpenMetrics" % compared)


def run_dashboard(prometheus, path):
    with open(path) as file:
        board = json.load(file)
    assert board["id"] is None and "__inputs" not in board, "it would not be provisioned"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)), ids
    queries, empty = 0, []
    for panel in board["panels"]:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        for target in panel["targets"]:
            expression = re.sub(r"\$\{?(pipeline|stage)\}?", ".*", target["expr"])
            assert "$" not in expression, expression
            queries += 1
            if not prometheus.query(expression):
                empty.append("%s: %s" % (panel["title"], expression))
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            inner = re.sub(r"\$\{?pipeline\}?", ".*", variable["query"]["query"])
            metric, label = re.match(r"label_values\((.*), (\w+)\)$", inner).groups()
            values = prometheus.get("label/%s/values" % label, **{"match[]": metric})
            assert values, variable["name"]
    print("%d queries of the dashboard run, %d of them show something" % (queries, queries - len(empty)))
    for line in empty:
        print("  nothing to show for " + line)
    assert len(empty) < queries / 2, "most panels are empty"


def check_rules(prometheus):
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    end = time.monotonic() + PATIENCE_SECONDS
    while any(rule["health"] == "unknown" for rule in rules) and time.monotonic() < end:
        time.sleep(0.3)
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert rules and all(rule["health"] == "ok" for rule in rules), [(r["name"], r["health"], r.get("lastError")) for r in rules]
    print("%d alerts are evaluated; firing: %s" % (len(rules), ", ".join(r["name"] for r in rules if r["alerts"]) or "none"))


def main():
    command, arguments = sys.argv[1], sys.argv[2:]
    if command == "serve":
        serve(*arguments)
    elif command == "port":
        print(free_port())
    else:
        url, report, pipeline, dashboard = arguments
        prometheus = Prometheus(url)
        prometheus.wait_for("poolpick_build_info", 2)
        assert not [s for s in prometheus.query("node_textfile_scrape_error") if s["value"][1] != "0"], "node_exporter refuses the file"
        with open(report) as file:
            compare(prometheus, json.load(file), pipeline)
        run_dashboard(prometheus, dashboard)
        check_rules(prometheus)


if __name__ == "__main__":
    os.environ["no_proxy"] = "127.0.0.1,localhost"
    main()
