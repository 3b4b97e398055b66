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
command -v dockerd >/dev/null || missing+=(docker.io)
command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
command -v redis-server >/dev/null || missing+=(redis-server)
command -v openssl >/dev/null || missing+=(openssl)
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
# What the clients' tests need: a compiler of types, and what the Python client joins a fabric with.
if command -v npm >/dev/null && [ ! -d clients/node/node_modules/typescript ]; then
  (cd clients/node && npm install --silent --no-audit --no-fund </dev/null >/dev/null 2>&1) || true
fi
if command -v python3 >/dev/null && ! python3 -c 'import redis' 2>/dev/null; then
  python3 -m pip install -q 'redis>=5' </dev/null >/dev/null 2>&1 ||
    { [ "$(id -u)" = 0 ] && apt-get install -y -qq python3-redis </dev/null >/dev/null 2>&1; } || true
fi
# A container engine, started here where none answers, and an image with what stock images have in them. No registry is
# asked: the image is made of Debian packages.
if ! docker version >/dev/null 2>&1 && [ "$(id -u)" = 0 ] && command -v dockerd >/dev/null; then
  setsid dockerd >/tmp/orchestrator-tests-dockerd.log 2>&1 </dev/null &
  for _ in $(seq 100); do
    docker version >/dev/null 2>&1 && break
    sleep 0.2
  done
fi
image=orchestrator-tests/debian:1
if docker version >/dev/null 2>&1 && ! docker image inspect "$image" >/dev/null 2>&1 && command -v mmdebstrap >/dev/null; then
  files=$(mktemp)
  mmdebstrap --quiet --variant=minbase --include=nodejs,python3,redis-server trixie - 2>/dev/null </dev/null >"$files" &&
    docker import "$files" "$image" >/dev/null 2>&1
  rm -f "$files"
fi
docker version >/dev/null 2>&1 || echo 'setup: no container engine: the tests that need it are skipped'
docker image inspect "$image" >/dev/null 2>&1 || echo "setup: no image $image: the tests that need it are skipped"
for tool in node python3 perl redis-server openssl; do
  command -v "$tool" >/dev/null || echo "setup: no $tool: the tests that need it are skipped"
done
exit 0
