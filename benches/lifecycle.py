#!/usr/bin/env python3
"""How fast and how small: prints the table of docs/performance.md.

Run it as `cargo build --release && python3 benches/lifecycle.py`. It runs the release binary in a folder of its own
and measures by the project's own events and by /proc; nothing is asserted.
"""
import json
import os
import random
import subprocess
import sys
import tempfile
import time

BINARY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../target/release/orchestrator")


class Project:
    """A manifest in a folder of its own, run in the background."""

    def __init__(self, services, sandbox="strict"):
        self.folder = tempfile.TemporaryDirectory()
        self.env = dict(os.environ, XDG_RUNTIME_DIR=self.folder.name, XDG_STATE_HOME=self.folder.name)
        with open(os.path.join(self.folder.name, "manifest.yaml"), "w") as manifest:
            manifest.write(f"name: bench\nsandbox: {sandbox}\nservices:\n" + services)

    def run(self, *arguments):
        if arguments[0] == "up":
            arguments += ("--allow-unconfined",)
        done = subprocess.run([BINARY, *arguments], cwd=self.folder.name, env=self.env, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def timed(self, *arguments):
        began = time.monotonic()
        self.run(*arguments)
        return time.monotonic() - began

    def snapshot(self):
        return json.loads(self.run("ps", "--json"))

    def events(self):
        return [json.loads(line) for line in self.run("events", "--json").splitlines()]


def js(name, on=(), start="export function start() {}"):
    needs = f"depends_on: [{', '.join(on)}], " if on else ""
    return f"  {name}: {{ runtime: js, {needs}code: {json.dumps(start + chr(10))} }}\n"


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def ticks(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def parent(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rsplit(")", 1)[1].split()[1])


def median(values):
    return sorted(values)[len(values) // 2]


def two_hundred():
    random.seed(7)
    on = lambda i: [f"s{d}" for d in sorted({random.randrange(i) for _ in range(random.randint(0, 3))})] if i else []
    project = Project("".join(js(f"s{i}", on(i)) for i in range(200)))
    up = project.timed("up", "-d")
    snapshot = project.snapshot()
    own = resident_kib(snapshot["pid"])
    hosts = [service["replicas"][0]["pid"] for service in snapshot["services"]]
    each = median([sum(private_kib(p) for p in (pid, parent(pid), parent(parent(pid)))) for pid in hosts])
    down = project.timed("down")
    row("200 js services, random graph: up", f"{up:.2f} s", "8 s")
    row("200 js services: down", f"{down:.2f} s", "3 s")
    row("200 js services: the orchestrator's resident memory", f"{own / 1024:.0f} MiB", "60 MB")
    row("a js service's environment (both of its runner, and its host), private memory", f"{each / 1024:.1f} MiB", "8 MB")


def start_of(sandbox):
    """The median time from starting to running, and of the whole command."""
    walls, starts = [], []
    for _ in range(15):
        project = Project(js("web"), sandbox)
        walls.append(project.timed("up", "-d"))
        times = {e["state"]: e["time"] for e in project.events() if e["event"] == "service"}
        starts.append(times["running"] - times["starting"])
        project.run("down")
    return median(starts), median(walls) * 1000


def one():
    (strict, wall), (plain, _) = start_of("strict"), start_of("none")
    row("one js service: starting to running", f"{strict} ms", "60 ms")
    row("the same without a sandbox", f"{plain} ms", "")
    row("so the strict sandbox adds", f"{strict - plain} ms", "6 ms")
    row("one js service: all of `up -d`, its own process included", f"{wall:.0f} ms", "")
    spawns = []
    for _ in range(50):
        began = time.monotonic()
        subprocess.run(["/bin/true"])
        spawns.append(time.monotonic() - began)
    spawn = median(spawns) * 1000
    row("what limits it: spawn and wait for a process", f"{spawn:.1f} ms", "")
    row("a start in spawns (it makes five: runner, its mapper, pid 1, js host, watchdog)", f"{strict / spawn:.1f}", "")


def chain():
    took = []
    for _ in range(5):
        crash = "export function start() { setTimeout(() => { throw new Error('now') }, 1500) }"
        services = js("s0", (), crash) + "".join(js(f"s{i}", [f"s{i - 1}"]) for i in range(1, 6))
        project = Project(services.replace("s0: { ", "s0: { restart: { policy: on-failure, backoff: 1h..1h, max: 5, within: 1h }, "))
        project.run("up", "-d")
        while any(s["state"] != "closed" for s in project.snapshot()["services"]):
            time.sleep(0.05)
        events = project.events()
        crashed = next(e["time"] for e in events if e["event"] == "crash")
        took.append(max(e["time"] for e in events if e["event"] == "service" and e["state"] == "closed" and e["time"] >= crashed) - crashed)
        project.run("down")
    row("chain: crash of a dependency to all 5 dependents closed", f"{median(took)} ms", "100 ms")


def idle():
    project = Project("".join(js(f"s{i}") for i in range(50)))
    project.run("up", "-d")
    pid = project.snapshot()["pid"]
    time.sleep(2)
    before, began = ticks(pid), time.monotonic()
    time.sleep(20)
    used = (ticks(pid) - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began)
    project.run("down")
    row("idle orchestrator with 50 services", f"{used * 100:.2f}% of a core", "1%")


def row(what, measured, aim):
    print(f"| {what} | {measured} | {aim} |", flush=True)


print("| what | measured | aim: under |\n| --- | --- | --- |")
two_hundred()
one()
chain()
idle()
