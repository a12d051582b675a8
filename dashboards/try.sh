#!/usr/bin/env bash
# Tries the dashboards for real: starts Prometheus and node_exporter on free ports in a temporary directory, profiles a
# program, and asks Prometheus whether it says what the JSON report says. Checks the alerts and every query of the
# dashboard, too. Leaves nothing behind.
#
#   dashboards/try.sh [--install] [--keep] [-- CMD...]
#
# --install  installs Debian's prometheus and prometheus-node-exporter first; needs root and apt
# --keep     leaves both running afterwards, until Enter, to look at
# CMD        is profiled instead of fixtures/pools.py
#
# POOLPICK names the program to try; else target/release/poolpick, target/debug/poolpick or the one on PATH.
# Exits with 0 if all agrees, with 77 if something that it needs is missing, else with 1.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(dirname "$here")
install=no
keep=no
while [ $# -gt 0 ]; do
    case $1 in
        --install) install=yes ;;
        --keep) keep=yes ;;
        --) shift; break ;;
        *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 1 ;;
    esac
    shift
done

if [ "$install" = yes ]; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "skipped: --install needs root and apt" >&2
        exit 77
    fi
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends prometheus prometheus-node-exporter; } >/dev/null || {
        echo "skipped: apt could not install prometheus and prometheus-node-exporter" >&2
        exit 77
    }
fi

find_program() {
    local name
    for name; do
        if command -v "$name"; then
            return
        fi
    done
    echo "skipped: no $1; hint: --install, or https://prometheus.io/download" >&2
    exit 77
}
prometheus=$(find_program prometheus)
promtool=$(find_program promtool)
node_exporter=$(find_program node_exporter prometheus-node-exporter)
python=$(find_program python3)
poolpick=${POOLPICK:-}
for candidate in "$top/target/release/poolpick" "$top/target/debug/poolpick" poolpick; do
    if [ -z "$poolpick" ] && command -v "$candidate" >/dev/null; then
        poolpick=$candidate
    fi
done
if [ -z "$poolpick" ]; then
    echo "skipped: no poolpick; hint: cargo build --release" >&2
    exit 77
fi

work=$(mktemp -d)
pids=()
clean() {
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap clean EXIT
mkdir "$work/textfile"
chmod 755 "$work" "$work/textfile"

echo "== the alerts"
"$promtool" check rules "$here/alerts.yml"
(cd "$here" && "$promtool" test rules alerts_test.yml)
"$promtool" check config "$here/prometheus.yml" >/dev/null

echo "== a profile"
if [ $# -eq 0 ]; then
    # A python3 on PATH may be a version manager's script; the interpreter behind it is what is meant.
    set -- "$("$python" -c 'import sys; print(sys.executable)')" "$top/fixtures/pools.py"
fi
"$poolpick" profile --quiet --pipeline try --export json="$work/report.json" --export openmetrics="$work/try.om" \
    --export prometheus="$work/textfile/try.prom" -- "$@"
"$promtool" check metrics <"$work/textfile/try.prom"

echo "== Prometheus"
node_port=$("$python" "$here/verify.py" port)
own_port=$("$python" "$here/verify.py" port)
port=$("$python" "$here/verify.py" port)
"$node_exporter" --web.listen-address="127.0.0.1:$node_port" --collector.disable-defaults --collector.textfile \
    --collector.textfile.directory="$work/textfile" >"$work/node_exporter.log" 2>&1 &
pids+=($!)
"$python" "$here/verify.py" serve "$work/try.om" "$own_port" &
pids+=($!)
cat >"$work/prometheus.yml" <<CONFIG
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files:
  - $here/alerts.yml
scrape_configs:
  - job_name: node
    static_configs:
      - targets: ["127.0.0.1:$node_port"]
  - job_name: openmetrics
    static_configs:
      - targets: ["127.0.0.1:$own_port"]
CONFIG
"$prometheus" --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/data" \
    --web.listen-address="127.0.0.1:$port" >"$work/prometheus.log" 2>&1 &
pids+=($!)
"$python" "$here/verify.py" compare "http://127.0.0.1:$port" "$work/report.json" try "$here/grafana.json" || {
    tail -n 20 "$work"/*.log >&2
    exit 1
}
if [ "$keep" = yes ]; then
    echo "Prometheus: http://127.0.0.1:$port  node_exporter: http://127.0.0.1:$node_port/metrics  Enter ends both."
    read -r _ || true
fi
echo "all agrees"
