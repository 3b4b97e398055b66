#!/bin/sh
# An executable that knows nothing of the orchestrator: it is ready when it has said so.
trap 'echo "shell: bye"; exit 0' TERM
echo "shell: listening"
while :; do sleep 0.1; done
