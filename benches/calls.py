#!/usr/bin/env python3
"""How fast a call is: prints the table of docs/performance.md.

Run it as `cargo build --release && python3 benches/calls.py`. One service calls another through the orchestrator, in the strict
sandbox, and measures in its own process; next to it, in the same run, what else carries a request and its answer between
processes on one host. Each is measured twice: all processes pinned to one core, and free. What is not installed is skipped
by name: `npm` (Moleculer and the clients), `redis-server`, `nats-server`.
"""
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BINARY = os.path.join(HERE, "../target/release/orchestrator")
PEERS = os.path.join(HERE, "calls")
PACKAGES = os.path.join(HERE, "../target/benches/calls")
RUNS = 3

MEASURE = """
export async function measure(call, now) {
  const payload = "x".repeat(64);
  for (let i = 0; i < 2000; i++) await call(payload);
  const times = [];
  for (let i = 0; i < 5000; i++) {
    const began = now();
    await call(payload);
    times.push(now() - began);
  }
  times.sort((a, b) => a - b);
  let left = 30000;
  const lane = async () => { while (left-- > 0) await call(payload); };
  const began = now();
  await Promise.all(Array.from({ length: 64 }, lane));
  const seconds = (now() - began) / 1e6;
  return { p50: times[2500], p99: times[4950], rate: Math.round(30000 / seconds) };
}
"""


def pinned(command, core):
    return ["taskset", "-c", core, *command] if core else command


def ours(runtime, core):
    """A service of this runtime that calls another one."""
    with tempfile.TemporaryDirectory() as folder:
        now = "() => performance.now() * 1000"
        client = MEASURE.replace("export ", "") + (
            'import { services } from "orchestrator";\n'
            f"export const run = () => measure((payload) => services.server.echo(payload), {now});\n"
        )
        manifest = (
            f"name: bench\nservices:\n  server: {{ runtime: {runtime}, code: {json.dumps('export const echo = (x) => x;' + chr(10))} }}\n"
            f"  client: {{ runtime: {runtime}, depends_on: [server], code: {json.dumps(client)}, "
            "permissions: { services: [{ name: server, call: [echo] }] } }\n"
        )
        with open(os.path.join(folder, "manifest.yaml"), "w") as file:
            file.write(manifest)
        env = dict(os.environ, XDG_RUNTIME_DIR=folder, XDG_STATE_HOME=folder)

        def run(*arguments):
            done = subprocess.run(pinned([BINARY, *arguments], core), cwd=folder, env=env, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"{arguments}: {done.stdout}{done.stderr}")
            return done.stdout

        run("up", "-d")
        try:
            return json.loads(run("call", "client", "run", "--timeout", "5m"))
        finally:
            run("down")


def peer(script, core, *arguments):
    """A program that measures another way and prints the same figures."""
    shared = os.path.join(PACKAGES, "measure.mjs")
    with open(shared, "w") as file:
        file.write(MEASURE)
    target = os.path.join(PACKAGES, script)
    shutil.copy(os.path.join(PEERS, script), target)
    done = subprocess.run(pinned(["node", target, *arguments], core), capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "it failed")
    return json.loads(done.stdout.splitlines()[-1])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server on a port of its own, while something is measured."""

    def __init__(self, command, core):
        self.port = free_port()
        command = [part.replace("PORT", str(self.port)) for part in command]
        self.process = subprocess.Popen(pinned(command, core), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)

    def __enter__(self):
        return str(self.port)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


REDIS = ["redis-server", "--port", "PORT", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
NATS = ["nats-server", "-a", "127.0.0.1", "-p", "PORT"]


def with_server(command, script, *arguments):
    def measure(core):
        if shutil.which(command[0]) is None:
            raise RuntimeError(f"{command[0]} is not installed")
        with Server(command, core) as port:
            return peer(script, core, *arguments, port)

    return measure


WAYS = [
    ("js to js", lambda core: ours("js", core)),
    ("node to node", lambda core: ours("node", core)),
    ("Unix sockets: client, relay, echo (node)", lambda core: peer("relay.mjs", core)),
    ("Node child_process IPC", lambda core: peer("ipc.mjs", core)),
    ("Moleculer, TCP transporter", lambda core: peer("moleculer.mjs", core, "TCP")),
    ("Moleculer, Redis transporter", with_server(REDIS, "moleculer.mjs", "redis")),
    ("NATS request-reply", with_server(NATS, "nats.mjs")),
    ("Redis request-reply (lists)", with_server(REDIS, "redis.mjs")),
]


def install():
    os.makedirs(PACKAGES, exist_ok=True)
    if os.path.exists(os.path.join(PACKAGES, "node_modules/moleculer")):
        return
    wanted = ["moleculer@0.14", "ioredis@5", "nats@2"]
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent", *wanted], cwd=PACKAGES, check=False)


def main():
    install()
    print(f"load: {os.getloadavg()[0]:.2f}")
    print("| 64 bytes and back | pinned: p50, p99 | calls/s, 64 in flight | free: p50, p99 | calls/s, 64 in flight |")
    print("| --- | --- | --- | --- | --- |")
    for name, measure in WAYS:
        cells = []
        for core in ("0", None):
            try:
                runs = [measure(core) for _ in range(RUNS)]
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                print(f"skipped: {name}: {error}", file=sys.stderr)
                break
            middle = {key: statistics.median(run[key] for run in runs) for key in ("p50", "p99", "rate")}
            cells += [f"{middle['p50']:.0f} us, {middle['p99']:.0f} us", f"{middle['rate']:.0f}"]
        else:
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
