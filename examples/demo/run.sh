#!/usr/bin/env bash
# The demo: a real library's history becomes a gated, served model, on this machine alone.
#   examples/demo/run.sh                                    a library from the package registry, release by release
#   REPO=URL-or-path CUTOFF=YYYY-MM-DD examples/demo/run.sh any repository with its real history
# NAME names the expert, STORE the artifact store; everything is under .demo/.
set -euo pipefail
cd "$(dirname "$0")/../.."
repoexpert=$PWD/.venv/bin/repoexpert
demo=$PWD/.demo
library=boltons
releases=26
cutoff=2023-10-31

mkdir -p "$demo"
if [ -n "${REPO:-}" ]; then
    [ -n "${CUTOFF:-}" ] || { echo "demo: say CUTOFF=YYYY-MM-DD as well: the last day the model may know" >&2; exit 2; }
    case $REPO in
        *://* | *@*:*) url=$REPO ;;
        *) url=file://$(realpath -- "$REPO") ;;
    esac
    slug=$(basename -- "${REPO%/}" .git | tr '[:upper:]_.' '[:lower:]--' | tr -cd 'a-z0-9-' | sed 's/^-*//; s/-*$//' | cut -c1-40)
    name=${NAME:-${slug:-expert}}
    cutoff=$CUTOFF
else
    name=${NAME:-$library}
    [ -d "$demo/history/$library/.git" ] ||
        "$repoexpert" history from-releases "$library" --releases "$releases" --output "$demo/history/$library"
    url=file://$demo/history/$library
fi

spec=$demo/$name.yaml
sed -e "s|@NAME@|$name|" -e "s|@URL@|$url|" -e "s|@CUTOFF@|$cutoff|" examples/demo/repoexpert.yaml > "$spec.new"
cmp -s "$spec.new" "$spec" && rm "$spec.new" || mv "$spec.new" "$spec"

store=${STORE:-$demo/store}
status=0
"$repoexpert" run -f "$spec" --store "$store" || status=$?
if [ "$status" = 0 ] || [ "$status" = 3 ]; then
    "$repoexpert" report -f "$spec" --store "$store" --output "$demo/report.html"
fi
exit "$status"
