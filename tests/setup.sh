#!/usr/bin/env bash
# Installs what the tests need beyond cargo and a C compiler, where that can be done: Debian packages, as root.
# What cannot be had is no failure: the tests that need it say by name that they were skipped.
set -u
missing=()
command -v node >/dev/null || missing+=(nodejs)
command -v python3 >/dev/null || missing+=(python3)
command -v npm >/dev/null || missing+=(npm)
command -v perl >/dev/null || missing+=(perl)
command -v cc >/dev/null || missing+=(gcc libc6-dev)
if [ "${#missing[@]}" -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq </dev/null || true
  apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null || true
fi
# The independent JSON Schema validator.
if command -v python3 >/dev/null && ! python3 -c 'import jsonschema, yaml' 2>/dev/null; then
  python3 -m pip install -q jsonschema pyyaml </dev/null >/dev/null 2>&1 ||
    { [ "$(id -u)" = 0 ] && apt-get install -y -qq python3-jsonschema python3-yaml </dev/null >/dev/null 2>&1; } || true
fi
for tool in node python3 perl; do
  command -v "$tool" >/dev/null || echo "setup: no $tool: the tests that need it are skipped"
done
exit 0
