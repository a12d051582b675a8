#!/usr/bin/env bash
# Runs the gate for the GitHub Action: the table in the log, annotations, outputs, and the exit status that the input
# fail-on asks for. The job summary is poolpick's own doing.
set -euo pipefail
report=${INPUT_REPORT:-poolpick.json}
annotations=$(mktemp)
trap 'rm -f "$annotations"' EXIT
arguments=(check --export "json=$report" --export "github=$annotations")
[ -z "${INPUT_MANIFEST:-}" ] || arguments+=(--manifest "$INPUT_MANIFEST")
[ -z "${INPUT_BUDGET:-}" ] || arguments+=(--budget "$INPUT_BUDGET")
[ -z "${INPUT_SARIF:-}" ] || arguments+=(--export "sarif=$INPUT_SARIF")
# Names of stages hold no spaces where they are given here; nothing else of them is read by the shell.
read -r -d '' -a stages <<<"${INPUT_STAGES:-}" || true
for stage in "${stages[@]}"; do
    case $stage in
        -*) echo "::error title=poolpick::a stage in the input stages begins with a dash"; exit 2 ;;
    esac
    arguments+=("$stage")
done
case ${INPUT_FAIL_ON:-incomplete} in
    misrouted | incomplete | never) ;;
    *) echo "::error title=poolpick::the input fail-on is misrouted, incomplete or never"; exit 2 ;;
esac

# What the stages print may look like a workflow command: it is not to be obeyed.
token=poolpick-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
echo "::stop-commands::$token"
status=0
"${POOLPICK:-poolpick}" "${arguments[@]}" || status=$?
echo "::$token::"
cat "$annotations"

case $status in
    0) outcome=pass ;;
    1) outcome=misrouted ;;
    3) outcome=no-verdict ;;
    4) outcome=nothing-selected ;;
    *) outcome=error ;;
esac
misrouted=
if [ "$outcome" != error ] && [ -s "$report" ]; then
    misrouted=$(python3 -c '
import json, sys
with open(sys.argv[1]) as file:
    print(sum(result["outcome"] == "misrouted" for result in json.load(file)["results"]))
' "$report")
fi
{
    echo "outcome=$outcome"
    echo "misrouted=$misrouted"
    # A path with a line break in it would be an output of its own.
    printf 'report=%s\n' "$(printf %s "$report" | tr -d '\r\n')"
} >>"$GITHUB_OUTPUT"

case ${INPUT_FAIL_ON:-incomplete}-$outcome in
    *-pass | never-misrouted | never-no-verdict | never-nothing-selected) exit 0 ;;
    misrouted-no-verdict | misrouted-nothing-selected) exit 0 ;;
    *) exit "$status" ;;
esac
