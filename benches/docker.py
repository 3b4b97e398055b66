#!/usr/bin/env python3
"""How much a container costs beside what its engine takes: prints the table of docs/performance.md.

Run it as `cargo build --release && python3 benches/docker.py`, with a container engine on /var/run/docker.sock. What the engine
takes is measured by its own API, in the same run, with the settings of a container that the orchestrator has made; nothing is
asserted.
"""
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

BINARY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../target/release/orchestrator")
RUNS = 15


class Engine(http.client.HTTPConnection):
    """The engine's API, over its socket."""

    def __init__(self):
        super().__init__("engine")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/var/run/docker.sock")

    def ask(self, method, path, body=None):
        self.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
        answer = self.getresponse()
        text = answer.read()
        if answer.status >= 400:
            sys.exit(f"{method} {path}: {text}")
        return json.loads(text) if text else None


class Project:
    """A manifest in a folder of its own."""

    def __init__(self, services):
        self.folder = tempfile.TemporaryDirectory()
        self.env = dict(os.environ, XDG_RUNTIME_DIR=self.folder.name, XDG_STATE_HOME=self.folder.name)
        with open(os.path.join(self.folder.name, "manifest.yaml"), "w") as manifest:
            manifest.write("name: bench\nisolation: docker\nservices:\n" + services)

    def run(self, *arguments):
        done = subprocess.run([BINARY, *arguments], cwd=self.folder.name, env=self.env, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def events(self):
        return [json.loads(line) for line in self.run("events", "--json").splitlines()]

    def times(self, state):
        return {e["service"]: e["time"] for e in self.events() if e["event"] == "service" and e["state"] == state}


def js(name, on=()):
    needs = f"depends_on: [{', '.join(on)}], " if on else ""
    return f"  {name}: {{ runtime: js, {needs}code: \"export function start() {{}}\\n\" }}\n"


def median(values):
    return sorted(values)[len(values) // 2]


def settings():
    """What the orchestrator asks for, without what belongs to one start: a runner that waits for its ticket."""
    project = Project(js("web"))
    project.run("up", "-d")
    ids = subprocess.run(
        ["docker", "ps", "-q", "--filter", "label=orchestrator.project=bench"], capture_output=True, text=True
    )
    made = Engine().ask("GET", f"/containers/{ids.stdout.split()[0]}/json")
    project.run("down")
    host = dict(made["HostConfig"], Mounts=[], AutoRemove=False)
    return {
        "Image": made["Config"]["Image"],
        "User": made["Config"]["User"],
        "Entrypoint": made["Config"]["Entrypoint"],
        "OpenStdin": True,
        "HostConfig": host,
    }


def engine_alone(body):
    """Seconds for create and start of one container."""
    engine = Engine()
    began = time.monotonic()
    made = engine.ask("POST", "/containers/create", body)["Id"]
    engine.ask("POST", f"/containers/{made}/start")
    took = time.monotonic() - began
    return took, made


def remove(containers):
    for container in containers:
        Engine().ask("DELETE", f"/containers/{container}?force=true")


def one():
    body = settings()
    alone, ours = [], []
    for _ in range(RUNS):
        took, made = engine_alone(body)
        remove([made])
        alone.append(took * 1000)
        project = Project(js("web"))
        project.run("up", "-d")
        ours.append(project.times("running")["web"] - project.times("starting")["web"])
        project.run("down")
    a, o = median(alone), median(ours)
    row("the engine alone: create and start, median", f"{a:.0f} ms", "")
    row("a js service in a container: from starting to running, median", f"{o:.0f} ms", "")
    row("so the orchestrator adds", f"{o - a:.0f} ms", "60 ms")
    return body


def twenty(body):
    made, threads = [], []
    began = time.monotonic()
    places = threading.Semaphore(4)

    def start():
        with places:
            made.append(engine_alone(body)[1])

    for _ in range(20):
        threads.append(threading.Thread(target=start))
        threads[-1].start()
    for thread in threads:
        thread.join()
    alone = time.monotonic() - began
    remove(made)
    project = Project("".join(js(f"s{i}") for i in range(20)))
    project.run("up", "-d")
    ours = (max(project.times("running").values()) - min(project.times("starting").values())) / 1000
    project.run("down")
    row("the engine alone: 20 containers, 4 at a time", f"{alone:.2f} s", "")
    row("20 js services in containers", f"{ours:.2f} s ({ours / alone:.2f} times)", "1.2 times")


def crash():
    took = []
    for _ in range(5):
        project = Project(js("a") + "".join(js(f"b{i}", ["a"]) for i in range(3)))
        project.run("up", "-d")
        snapshot = json.loads(project.run("ps", "--json"))
        pid = next(s["replicas"][0]["pid"] for s in snapshot["services"] if s["name"] == "a")
        began = time.time() * 1000
        os.kill(pid, 9)
        names = {f"b{i}" for i in range(3)}
        while True:
            events = [e for e in project.events() if e["event"] == "service" and e["time"] >= began - 1]
            closed = {e["service"]: e["time"] for e in events if e["state"] == "closed"}
            if names <= closed.keys():
                break
        took.append(max(closed[name] for name in names) - began)
        project.run("down")
    row("kill -9 of a dependency to its 3 dependents closed, median", f"{median(took):.0f} ms", "50 ms")


def killed():
    """The orchestrator is killed: how long until the last process of its 20 containers is gone."""
    took = []
    for _ in range(5):
        project = Project("".join(js(f"s{i}") for i in range(20)))
        project.run("up", "-d")
        orchestrator = json.loads(project.run("ps", "--json"))["pid"]
        label = "label=orchestrator.project=bench"
        ids = subprocess.run(["docker", "ps", "-q", "--filter", label], capture_output=True, text=True).stdout.split()
        runners = [Engine().ask("GET", f"/containers/{container}/json")["State"]["Pid"] for container in ids]
        assert len(runners) == 20
        began = time.monotonic()
        os.kill(orchestrator, 9)
        # One that is reaped by the engine's shim later runs no more.
        while any(runs(pid) for pid in runners):
            time.sleep(0.001)
        took.append(time.monotonic() - began)
        while subprocess.run(["docker", "ps", "-aq", "--filter", label], capture_output=True).stdout:
            time.sleep(0.1)
    row("kill -9 of the orchestrator to the end of its 20 containers, longest of 5", f"{max(took) * 1000:.0f} ms", "2 s")


def runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def row(what, measured, aim):
    print(f"| {what} | {measured} | {aim} |", flush=True)


if __name__ == "__main__":
    print("| what | measured | aim: under |\n| --- | --- | --- |")
    body = one()
    twenty(body)
    crash()
    killed()
