// What the tests share: a redis-server of their own, members of a fabric, programs beside, and waiting for what is to come.
import { fork, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { connect } from "../../index.mjs";

const { Wire } = createRequire(import.meta.url)("../../src/wire.js");

export const key = "the tests' own key, of 32 bytes and more";

// For `test(name, { skip: withoutRedis }, ...)`.
export const withoutRedis =
  spawnSync("redis-server", ["--version"]).status === 0 ? false : "there is no redis-server: install it to run this test";

// Waits until a condition holds; its value is given back.
export async function until(condition, what, patience = 20_000) {
  const end = Date.now() + patience;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`it did not come true in ${patience} ms: ${what}`);
    await new Promise((again) => setTimeout(again, 5));
  }
}

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

async function startRedis(port) {
  const options = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", os.tmpdir()];
  const child = spawn("redis-server", options, { stdio: "ignore" });
  const answers = () =>
    new Promise((resolve) => {
      const socket = net.connect(port, "127.0.0.1", () => socket.write("PING\r\n"));
      socket.on("data", () => resolve(true));
      socket.on("error", () => resolve(false));
      socket.on("close", () => resolve(false));
      socket.on("data", () => socket.destroy());
    });
  await until(answers, "redis-server answers");
  return child;
}

async function end(child, signal = "SIGKILL") {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill(signal);
  await ended;
}

// A Redis for one test, and what is used with it; all of it ends with the test.
export async function start(t) {
  const port = await freePort();
  let redis = await startRedis(port);
  const url = `redis://127.0.0.1:${port}`;
  const fabrics = [];
  const children = [];
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "orchestrator-client-"));
  t.after(async () => {
    await Promise.all(children.map((child) => end(child)));
    await Promise.all(fabrics.map((fabric) => fabric.close()));
    await end(redis);
    fs.rmSync(folder, { recursive: true, force: true });
  });
  return {
    url,
    folder,
    async join(name, options = {}) {
      const fabric = await connect({ redis: url, key, name, timeout: 1500, callTimeout: 20_000, ...options });
      fabrics.push(fabric);
      return fabric;
    },
    // A program of the folder `support` as a process of its own; the first that it says is waited for.
    async program(file, ...args) {
      const child = fork(fileURLToPath(new URL(file, import.meta.url)), [url, key, ...args], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
      children.push(child);
      await once(child, "message");
      return child;
    },
    // A connection that gives commands of its own; `heard` says that it listens.
    async raw(heard) {
      const wire = new Wire({ host: "127.0.0.1", port, db: 0 }, { heard, ended() {} });
      t.after(() => wire.end());
      await wire.open();
      return wire;
    },
    kill: (child) => end(child),
    stopRedis: () => end(redis),
    async startRedis() {
      redis = await startRedis(port);
    },
  };
}

// Waits until a member sees so many who offer a service.
export async function sees(fabric, service, many = 1) {
  const offered = () => fabric.members().filter((member) => member.services.some(({ name }) => name === service)).length;
  await until(() => offered() === many, `${many} offer ${service}`);
}

// Waits until a member is to be told an event, so that one that is told now is heard.
export async function hears(fabric, event, many) {
  const { peers } = fabric.session.members;
  await until(() => [...peers.values()].flatMap((peer) => peer.hears).filter((one) => one.event === event).length === many, `${many} hear ${event}`);
}

// What a promise is rejected with.
export async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("it has not failed");
}

// A promise and what settles it.
export function deferred() {
  let resolve, reject;
  const promise = new Promise((...both) => ([resolve, reject] = both));
  return { promise, resolve, reject };
}
