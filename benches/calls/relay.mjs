// The yardstick: a line of JSON over a Unix socket to a relay, on to an echo, and back. No routing, no names, no limits.
import { fork } from "node:child_process";
import net from "node:net";
import { fileURLToPath } from "node:url";
import { measure } from "./measure.mjs";

const [role, path] = process.argv.slice(2);

function lines(socket, hear) {
  let rest = "";
  socket.setEncoding("utf8").on("data", (text) => {
    const all = (rest + text).split("\n");
    rest = all.pop();
    for (const line of all) hear(line);
  });
}

function listen(at, serve) {
  net.createServer(serve).listen(at, () => process.send("ready"));
}

if (role === "echo") {
  listen(`${path}.echo`, (socket) => lines(socket, (line) => socket.write(line + "\n")));
} else if (role === "relay") {
  listen(`${path}.relay`, (socket) => {
    const onward = net.connect(`${path}.echo`);
    lines(socket, (line) => onward.write(line + "\n"));
    lines(onward, (line) => socket.write(line + "\n"));
  });
} else {
  const base = `\0bench-calls-${process.pid}`;
  const at = base.replace("\0", "/tmp/");
  const children = [];
  for (const child of ["echo", "relay"]) {
    children.push(fork(fileURLToPath(import.meta.url), [child, at]));
    await new Promise((ready) => children.at(-1).once("message", ready));
  }
  const socket = net.connect(`${at}.relay`);
  const waiting = new Map();
  let last = 0;
  lines(socket, (line) => {
    const { id, payload } = JSON.parse(line);
    waiting.get(id)(payload);
    waiting.delete(id);
  });
  const call = (payload) =>
    new Promise((resolve) => {
      waiting.set(++last, resolve);
      socket.write(JSON.stringify({ id: last, payload }) + "\n");
    });
  console.log(JSON.stringify(await measure(call, () => performance.now() * 1000)));
  const { rmSync } = await import("node:fs");
  for (const end of ["echo", "relay"]) rmSync(`${at}.${end}`, { force: true });
  children.forEach((child) => child.kill());
  process.exit(0);
}
