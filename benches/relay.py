#!/usr/bin/env python3
"""What the gateway costs: bytes and connections from a sandbox to a server on this host, and without a sandbox.

Run it as `cargo build --release && python3 benches/relay.py`; it needs python3 in /usr. Server and client are the same
two programs both times; only the client's way differs. Nothing is asserted.
"""
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading

BINARY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../target/release/orchestrator")
BYTES = 4 << 30
CONNECTIONS = 500

CLIENT = f"""
import socket, time
def connect(): return socket.create_connection(("127.0.0.1", PORT))
def bytes_in():
    with connect() as s:
        s.sendall(b"b")
        buffer, got, began = bytearray(1 << 20), 0, time.monotonic()
        while got < {BYTES}: got += s.recv_into(buffer)
        return got / (time.monotonic() - began) / (1 << 30)
def opened():
    times = []
    for _ in range({CONNECTIONS}):
        began = time.monotonic()
        with connect() as s:
            s.sendall(b"e")
            s.recv(1)
        times.append(time.monotonic() - began)
    return sorted(times)[len(times) // 2] * 1e6
def trips():
    with connect() as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        times = []
        s.sendall(b"t")
        for _ in range(5000):
            began = time.monotonic()
            s.sendall(b"x")
            s.recv(1)
            times.append(time.monotonic() - began)
        return sorted(times)[len(times) // 2] * 1e6
print(f"figures {{bytes_in():.2f}} {{opened():.0f}} {{trips():.0f}}", flush=True)
"""


def serve(server):
    chunk = memoryview(bytearray(1 << 20))

    def talk(peer):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with peer:
            what = peer.recv(1)
            try:
                while what == b"b":
                    peer.sendall(chunk)
                while what == b"e" or what == b"t":
                    peer.sendall(peer.recv(1) if what == b"t" else b"e")
                    if what == b"e":
                        return
            except OSError:
                pass

    while True:
        threading.Thread(target=talk, args=(server.accept()[0],), daemon=True).start()


def figures(text):
    line = next(line for line in text.splitlines() if "figures" in line)
    return [float(word) for word in line.split("figures")[1].split()]


def main():
    # A process of its own, so that it does not share an interpreter with anything that is measured.
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    child = os.fork()
    if child == 0:
        serve(server)
    code = CLIENT.replace("PORT", str(port))
    direct = figures(subprocess.run(["/usr/bin/python3", "-c", code], capture_output=True, text=True).stdout)
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/manifest.yaml", "w") as manifest:
            body = "".join(f"      {line}\n" for line in code.splitlines())
            manifest.write(
                f"name: relay\nservices:\n  client:\n    runtime: python\n    kind: job\n    permissions: "
                f"{{ net: {{ connect: ['127.0.0.1:{port}'] }} }}\n    start_timeout: 5m\n    code: |\n{body}"
            )
        env = dict(os.environ, XDG_RUNTIME_DIR=folder, XDG_STATE_HOME=folder)
        done = subprocess.run([BINARY, "up"], cwd=folder, env=env, capture_output=True, text=True)
        if "figures" not in done.stdout:
            sys.exit(done.stdout + done.stderr)
        relayed = figures(done.stdout)
    print("| from a client to a server on this host | direct | through the gateway | ratio |\n| --- | --- | --- | --- |")
    rows = [("bytes, GiB/s", 2), ("a connection with one byte back, median us", 0), ("a byte and back, median us", 0)]
    for (what, digits), one, other in zip(rows, direct, relayed):
        print(f"| {what} | {one:.{digits}f} | {other:.{digits}f} | {other / one:.2f} |")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


main()
