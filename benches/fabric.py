#!/usr/bin/env python3
"""How fast a call over the fabric is, and what a fabric costs that nobody uses: prints the tables of docs/performance.md.

Run it as `cargo build --release && python3 benches/fabric.py`. One Redis of its own on loopback. A service of one orchestrator
calls one of another, both in the strict sandbox, and measures in its own process; then, on the same Redis, two Node programs
with this project's client, with Moleculer's Redis transporter and with clouds, in turns. What is not installed is skipped by name:
`npm`. `redis-server` has to be there.
"""
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from calls import BINARY, HERE, MEASURE

PEERS = os.path.join(HERE, "fabric_node")
PACKAGES = os.path.join(HERE, "../target/benches/fabric")
RUNS = 3


def project(folder, name, redis, services):
    """The folder of a project that is a member."""
    own = os.path.join(folder, name)
    os.makedirs(own)
    with open(os.path.join(own, "manifest.yaml"), "w") as file:
        file.write(f"name: {name}\nfabric: {redis}\n{services}")
    return own


def over_the_fabric(runtime, redis):
    """A service of this runtime that calls one of another orchestrator."""
    with tempfile.TemporaryDirectory() as folder:
        client = MEASURE.replace("export ", "") + (
            'import { services } from "orchestrator";\n'
            "export const run = () => measure((payload) => services.server.echo(payload), () => performance.now() * 1000);\n"
        )
        echo = json.dumps("export const echo = (x) => x;\n")
        there = project(folder, "there", redis, f"services:\n  server: {{ runtime: {runtime}, code: {echo} }}\n")
        grants = "permissions: { services: [{ name: server, call: [echo] }] }"
        here = project(
            folder,
            "here",
            redis,
            f"elsewhere: [server]\nservices:\n  client: {{ runtime: {runtime}, code: {json.dumps(client)}, {grants} }}\n",
        )
        env = dict(os.environ, XDG_RUNTIME_DIR=folder, XDG_STATE_HOME=folder, ORCHESTRATOR_FABRIC_KEY="only a bench, so that this is no secret")

        def run(where, *arguments):
            done = subprocess.run([BINARY, *arguments], cwd=where, env=env, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"{arguments}: {done.stdout}{done.stderr}")
            return done.stdout

        run(there, "up", "-d")
        run(here, "up", "-d")
        try:
            run(here, "call", "server", "echo", "1", "--retries", "-1", "--timeout", "10s")
            return json.loads(run(here, "call", "client", "run", "--timeout", "5m"))
        finally:
            run(here, "down")
            run(there, "down")


def own_redis(folder):
    """A Redis of this run's own: its process and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
        time.sleep(0.05)
    return server, f"redis://127.0.0.1:{port}/0"


def peers():
    """The folder in which the packages are installed; none without npm."""
    if not shutil.which("npm"):
        print("skipped: npm is not here, and so neither are the clients")
        return None
    os.makedirs(PACKAGES, exist_ok=True)
    for file in ["compare.mjs", "idle.mjs", "package.json"]:
        shutil.copy(os.path.join(PEERS, file), PACKAGES)
    with open(os.path.join(PACKAGES, "package.json")) as file:
        package = json.load(file)
    package["dependencies"]["orchestrator-client"] = "file:" + os.path.abspath(os.path.join(HERE, "../clients/node"))
    with open(os.path.join(PACKAGES, "package.json"), "w") as file:
        json.dump(package, file)
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=PACKAGES, check=True)
    return PACKAGES


def main():
    with tempfile.TemporaryDirectory() as folder:
        server, redis = own_redis(folder)
        try:
            print("| 64 bytes and back, over Redis | one at a time: p50, p99 | calls/s, 64 in flight |\n| --- | --- | --- |")
            for runtime in ["js", "node"]:
                runs = [over_the_fabric(runtime, redis) for _ in range(RUNS)]
                middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
                print(f"| {runtime} of one orchestrator to {runtime} of another | {middle['p50']:.0f} us, {middle['p99']:.0f} us | {middle['rate']:.0f} |", flush=True)
            installed = peers()
            if installed:
                subprocess.run(["node", "compare.mjs", redis, "7", "3"], cwd=installed, check=True)
                idle = subprocess.run(["node", "idle.mjs", redis], cwd=installed, check=True, capture_output=True, text=True)
                print("idle, in percent of a core:", idle.stdout.strip())
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
