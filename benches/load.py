#!/usr/bin/env python3
"""What becomes of requests while their servers are replaced: prints the tables of docs/performance.md, "Under load".

Run it as `cargo build --release && python3 benches/load.py`. A hundred connections of `wrk` ask all the time, once kept open and once
anew for each request, while services are reloaded, scaled, recycled and killed; the failed requests are counted. Next to it, in the
same run, the same is done to pm2 in its cluster mode. Then throughput, in rounds that take turns, beside Node's own cluster module and a
single Node process; and how long a reload takes under load. What is not there is skipped by name: a container
engine, `npm` (pm2).
"""
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BINARY = os.path.join(HERE, "../target/release/orchestrator")
PACKAGES = os.path.join(HERE, "../target/benches/load")
CONNECTIONS = 100
ROUNDS = 5
SECONDS = 4
RELOADS = 5
KILLS = 3
# Between one thing that is done to a service and the next.
PAUSE = 0.5
DEADLINE = 60

JS = "export const fetch = () => new Response('hello world');\n"
NODE = 'require("http").createServer((request, response) => response.end("hello world")).listen(process.env.PORT);\n'
# What pm2's documentation has programs do so that they end well.
GRACEFUL = (
    'const server = require("http").createServer((request, response) => response.end("hello world"));\n'
    'server.listen(process.env.PORT);\n'
    'process.on("SIGINT", () => server.close(() => process.exit(0)));\n'
)
CLUSTER = f'const cluster = require("cluster");\nif (cluster.isPrimary) {{ cluster.fork(); cluster.fork(); }} else {NODE}'


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, look):
    until = time.monotonic() + DEADLINE
    while not (found := look()):
        if time.monotonic() > until:
            sys.exit(f"waited for {what}")
        time.sleep(0.02)
    return found


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Load:
    """Clients that ask until they are told to stop, or for that many seconds."""

    def __init__(self, port, fresh, seconds=600):
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "--timeout", "10s", "--latency"]
        command += ["-H", "Connection: close"] if fresh else []
        self.process = subprocess.Popen([*command, f"http://127.0.0.1:{port}/"], stdout=subprocess.PIPE, text=True)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def end(self):
        text, _ = self.process.communicate(timeout=700)

        def number(pattern, default=None):
            found = re.search(pattern, text)
            return [int(group) for group in found.groups()] if found else [default]

        failed = sum(number(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", 0))
        failed += number(r"Non-2xx or 3xx responses: (\d+)", 0)[0]
        p99, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()
        return {
            "requests": number(r"(\d+) requests in")[0],
            "failed": failed,
            "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)),
            "p99": float(p99) * {"us": 0.001, "ms": 1, "s": 1000}[unit],
        }


class Ours:
    """A service of the orchestrator."""

    def __init__(self, runtime, replicas=2, recycle="", isolation="process"):
        self.folder = tempfile.TemporaryDirectory()
        self.env = dict(os.environ, XDG_RUNTIME_DIR=self.folder.name, XDG_STATE_HOME=self.folder.name)
        self.port = free_port()
        code = {"js": ("web.js", JS), "node": ("web.cjs", NODE)}[runtime]
        self.write(*code)
        self.write(
            "manifest.yaml",
            f"name: bench\nisolation: {isolation}\nservices:\n  web:\n    runtime: {runtime}\n    code: ./{code[0]}\n"
            f"    replicas: {replicas}\n    listen: {{ http: '127.0.0.1:{self.port}' }}\n"
            f"    restart: {{ max: 50 }}\n{recycle}",
        )
        self.run("up", "-d")
        wait_for("replicas", lambda: all(replica["state"] == "running" for replica in self.replicas()))

    def write(self, name, text):
        with open(os.path.join(self.folder.name, name), "w") as file:
            file.write(text)

    def run(self, *arguments):
        done = subprocess.run([BINARY, *arguments], cwd=self.folder.name, env=self.env, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def events(self):
        return [json.loads(line) for line in self.run("events", "--json").splitlines()]

    def replicas(self):
        return json.loads(self.run("ps", "--json"))["services"][0]["replicas"]

    def reload(self):
        self.run("reload", "web")

    def scale(self, replicas):
        self.run("scale", f"web={replicas}")

    def kill(self):
        # The oldest one: connections that are kept are there.
        before = min(self.replicas(), key=lambda replica: replica["since"])
        os.kill(before["pid"], signal.SIGKILL)

        def runs_again():
            now = self.replicas()[before["index"] - 1]
            return now["generation"] > before["generation"] and now["state"] == "running"

        wait_for("a restart", runs_again)

    def close(self):
        self.run("down")


class Pm2:
    """A program under pm2, in its cluster mode."""

    def __init__(self, program):
        self.folder = tempfile.TemporaryDirectory()
        self.port = free_port()
        self.env = dict(os.environ, PM2_HOME=self.folder.name, PORT=str(self.port))
        path = os.path.join(self.folder.name, "web.js")
        with open(path, "w") as file:
            file.write(program)
        self.run("start", path, "--name", "web", "-i", "2", "--kill-timeout", "5000")
        wait_for("pm2", lambda: answers(self.port))

    def run(self, *arguments):
        command = [os.path.join(PACKAGES, "node_modules/.bin/pm2"), *arguments]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            sys.exit(f"pm2 {arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def workers(self):
        listed = json.loads(self.run("jlist").strip().splitlines()[-1])
        return {worker["pid"] for worker in listed if worker["pm2_env"]["status"] == "online"}

    def reload(self):
        self.run("reload", "web")

    def scale(self, replicas):
        if len(self.workers()) != replicas:
            self.run("scale", "web", str(replicas))
        wait_for("workers", lambda: len(self.workers()) == replicas)

    def kill(self):
        before = self.workers()
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        wait_for("a restart", lambda: victim not in (now := self.workers()) and len(now) == len(before))

    def close(self):
        self.run("kill")


class Plain:
    """A Node process, and those that it forks."""

    def __init__(self, program):
        self.folder = tempfile.TemporaryDirectory()
        self.port = free_port()
        path = os.path.join(self.folder.name, "web.js")
        with open(path, "w") as file:
            file.write(program)
        self.process = subprocess.Popen(["node", path], env=dict(os.environ, PORT=str(self.port)), start_new_session=True)
        wait_for("node", lambda: answers(self.port))

    def close(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


# --- what fails ---


def reload_often(server):
    for _ in range(RELOADS):
        server.reload()
        time.sleep(PAUSE)


def scale(server):
    for replicas in (4, 1, 2):
        server.scale(replicas)
        time.sleep(PAUSE)


def kill_often(server):
    for _ in range(KILLS):
        server.kill()
        time.sleep(PAUSE)


def recycle(server):
    wait_for("replicas to be recycled", lambda: min(replica["generation"] for replica in server.replicas()) > 3)


def failures(server, fresh, do):
    load = Load(server.port, fresh)
    time.sleep(PAUSE)
    do(server)
    time.sleep(PAUSE)
    return load.stop()


def shown(result):
    return f"{result['failed']} of {result['requests']}"


def what_fails(subjects):
    print(f"| failed requests, {CONNECTIONS} connections | {RELOADS} reloads | scale 2, 4, 1, 2 | {KILLS} kills | recycled |")
    print("| --- | --- | --- | --- | --- |")
    for name, make, make_recycled in subjects:
        for fresh in (False, True):
            cells = []
            for do in (reload_often, scale, kill_often):
                server = make()
                cells.append(shown(failures(server, fresh, do)))
                server.close()
            if make_recycled:
                server = make_recycled()
                cells.append(shown(failures(server, fresh, recycle)))
                server.close()
            else:
                cells.append("")
            print(f"| {name}, {'a connection each' if fresh else 'kept open'} | " + " | ".join(cells) + " |", flush=True)


def ours(runtime, **more):
    recycled = "    recycle: { age: 2s }\n"
    return lambda: Ours(runtime, **more), lambda: Ours(runtime, recycle=recycled, **more)


# --- how much is served ---


def how_much():
    servers = {
        "node, 2 replicas": Ours("node"),
        "Node's cluster, 2 workers": Plain(CLUSTER),
        "js, 1 replica": Ours("js", replicas=1),
        "one Node process": Plain(NODE),
    }
    rounds = {(name, fresh): [] for name in servers for fresh in (False, True)}
    for _ in range(ROUNDS):
        for (name, fresh), results in rounds.items():
            results.append(Load(servers[name].port, fresh, SECONDS).end())
    print(f"\n| hello world, {CONNECTIONS} connections | kept open: requests/s, p99 | a connection each: requests/s, p99 |")
    print("| --- | --- | --- |")
    rates = {}
    for name, server in servers.items():
        cells = []
        for fresh in (False, True):
            results = rounds[name, fresh]
            rate, p99 = (statistics.median(result[key] for result in results) for key in ("rate", "p99"))
            failed = sum(result["failed"] for result in results)
            rates.setdefault(name, []).append(rate)
            cells.append(f"{rate:.0f}, {p99:.1f} ms" + (f" ({failed} failed)" if failed else ""))
        print(f"| {name} | " + " | ".join(cells) + " |")
        server.close()
    for one, other in (("node, 2 replicas", "Node's cluster, 2 workers"), ("js, 1 replica", "one Node process")):
        ratios = [own / beside for own, beside in zip(rates[one], rates[other])]
        print(f"| {one} / {other} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |", flush=True)


# --- how long a reload takes ---


def how_long(runtime):
    """Medians in milliseconds: of a reload; of a further replica's start; of a replica's end, when it is restarted."""
    server = Ours(runtime, replicas=1)
    load = Load(server.port, False)
    reloads = []
    for _ in range(RELOADS):
        time.sleep(PAUSE)
        began = time.monotonic()
        server.reload()
        reloads.append((time.monotonic() - began) * 1000)
        server.scale(2)
        server.scale(1)
    # Last: who comes while nobody serves is carried by the orchestrator from then on.
    for _ in range(RELOADS):
        time.sleep(PAUSE)
        server.run("restart", "web")
    load.stop()
    events = [event for event in server.events() if event["event"] == "replica"]
    server.close()

    def times(index, state):
        return [event["time"] for event in events if event["replica"]["index"] == index and event["state"] == state]

    def median(begun, over):
        return statistics.median(end - begin for begin, end in zip(begun, over))

    # A replica that is restarted has ended when it starts again; its first start was another one.
    start, end = median(times(2, "starting"), times(2, "running")), median(times(1, "closing"), times(1, "starting")[1:])
    return statistics.median(reloads), start, end


def reload_times():
    print("\n| one replica under load | its reload | a start | an end | reload / (start + end) |")
    print("| --- | --- | --- | --- | --- |")
    for runtime in ("js", "node"):
        whole, start, end = how_long(runtime)
        print(f"| {runtime} | {whole:.0f} ms | {start:.0f} ms | {end:.0f} ms | {whole / (start + end):.2f} |", flush=True)


def pm2_is_there():
    os.makedirs(PACKAGES, exist_ok=True)
    if not os.path.exists(os.path.join(PACKAGES, "node_modules/pm2")):
        try:
            subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent", "pm2@6"], cwd=PACKAGES, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"skipped: pm2: {error}", file=sys.stderr)
            return False
    return True


def main():
    subjects = [("js", *ours("js")), ("node", *ours("node"))]
    if subprocess.run(["docker", "version"], capture_output=True).returncode == 0:
        subjects.append(("js in containers", *ours("js", isolation="docker")))
    else:
        print("skipped: js in containers: no container engine answers", file=sys.stderr)
    if pm2_is_there():
        subjects.append(("pm2", lambda: Pm2(GRACEFUL), None))
    print(f"load: {os.getloadavg()[0]:.2f}")
    what_fails(subjects)
    how_much()
    reload_times()


if __name__ == "__main__":
    main()
