#!/usr/bin/env python3
"""How many requests a js service answers: prints a table of requests a second.

Run it as `cargo build --profile runner -p orchestrator-runner && python3 benches/http.py`. The runner's own processes are started as a
start of a service has them, on a socket that is passed to them; next to it, in the same run, a Node process with
`http.createServer`. Both answer `hello world`. `wrk` is the client; the median of three runs counts.
"""
import fcntl
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
RUNNER = os.path.join(HERE, "../target/runner/runner")
RUNS = 3
SECONDS = 5
CONNECTIONS = (1, 64, 256)

JS = "export const fetch = () => new Response('hello world');\n"
NODE = """
const answer = (request, response) => {
  response.setHeader("content-type", "text/plain;charset=UTF-8");
  response.end("hello world");
};
require("http").createServer(answer).listen(0, "127.0.0.1", function () { console.log(this.address().port); });
"""


def role(arguments, sockets, folder, environment):
    """A process of the runner, with these sockets from descriptor 3 on."""

    def place():
        # First out of the way of each other.
        copies = [fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, 64) for s in sockets]
        for number, copy in enumerate(copies, 3):
            os.dup2(copy, number)

    command = [RUNNER, *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, preexec_fn=place, close_fds=False)


def ours(folder):
    """A js service and its js-http; answers with the processes and the port."""
    code = os.path.join(folder, "main.js")
    with open(code, "w") as file:
        file.write(JS)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    (host, host_end), (io, io_end), (http, http_end) = (socket.socketpair() for _ in range(3))
    io.send(b'{"fetch":false}\n')
    told = {"ORCHESTRATOR_LISTEN": "http=127.0.0.1"}
    js = role(["js-host", code], [host_end, io_end, http_end], folder, told)
    serving = role(["js-http", "1", "1000000"], [http, listener], folder, {})
    assert b"started" in host.recv(1000), "the service has not started"
    # Kept until the processes have ended: their ends are the service's end.
    return [js, serving], listener.getsockname()[1], (host, io)


def node(_):
    process = subprocess.Popen(["node", "-e", NODE], stdout=subprocess.PIPE, text=True)
    return [process], int(process.stdout.readline()), None


def rate(port, connections):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}", f"http://127.0.0.1:{port}/"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "Non-2xx" not in text and "Socket errors" not in text, text
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))


def measure(server):
    with tempfile.TemporaryDirectory() as folder:
        processes, port, _kept = server(folder)
        try:
            return [statistics.median(rate(port, count) for _ in range(RUNS)) for count in CONNECTIONS]
        finally:
            for process in processes:
                process.kill()
                process.wait()


def main():
    print("requests a second      " + "".join(f"{count:>5} connections" for count in CONNECTIONS))
    for name, server in (("js, exported fetch", ours), ("node, http.createServer", node)):
        print(f"{name:<23}" + "".join(f"{value:>17,.0f}" for value in measure(server)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
