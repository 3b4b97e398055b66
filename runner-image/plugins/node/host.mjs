// The node plugin's host: runs one service and speaks docs/host-protocol.md.

import { AsyncLocalStorage } from "node:async_hooks";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { setImmediate } from "node:timers";
import { pathToFileURL } from "node:url";
import { offered } from "./service.mjs";
import { makeTalk } from "./talk.mjs";

const DESCRIPTOR = Number(process.env.ORCHESTRATOR_HOST_FD);
const TEXT_LIMIT = 64 * 1024;
// How many bytes wait for the end of a turn at most, about.
const HELD = 64 * 1024;
const folder = process.cwd();
const code = process.argv[2];
const isJob = process.env.ORCHESTRATOR_KIND === "job";

let exported = { hooks: new Map(), methods: new Map() };
let phase = "starting";
// Loaded only where there are any: it brings HTTP with it.
let sockets;

// --- the channel ---

const channel = new net.Socket({ fd: DESCRIPTOR, readable: true, writable: false });
const nap = new Int32Array(new SharedArrayBuffer(4));

// Half of a character, which JavaScript allows in a text, is nothing that a line of JSON can hold.
const wellFormed = (_key, value) => (typeof value === "string" ? value.toWellFormed() : value);

// What is for other services: the first of a turn of the event loop is written at once, the others together at its end.
let turn = false;
let held = [];
let heldSize = 0;

function writeSoon(bytes) {
  if (!turn) {
    turn = true;
    setImmediate(endTurn);
    return write(bytes);
  }
  held.push(bytes);
  heldSize += bytes.length;
  if (heldSize > HELD) flush();
}

function endTurn() {
  turn = false;
  flush();
}

function flush() {
  const bytes = held;
  [held, heldSize] = [[], 0];
  if (bytes.length > 0) write(Buffer.concat(bytes));
}

process.on("exit", flush);

// Waits until all of it is on its way: what is said last is never lost.
function write(bytes) {
  let rest = bytes;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(fs.writeSync(DESCRIPTOR, rest));
    } catch (error) {
      if (error.code !== "EAGAIN") return;
      Atomics.wait(nap, 0, 0, 1);
    }
  }
}

function say(message) {
  flush();
  write(Buffer.from(JSON.stringify(message, wellFormed) + "\n"));
}

// What came and is no whole message yet. The message whose payload is still coming has been read already.
let received = [];
let size = 0;
let begun;

channel.on("data", (chunk) => {
  received.push(chunk);
  size += chunk.length;
  if (begun !== undefined && size < begun.payload) return;
  let bytes = received.length === 1 ? chunk : Buffer.concat(received);
  for (;;) {
    if (begun === undefined) {
      const end = bytes.indexOf(10);
      if (end === -1) break;
      begun = JSON.parse(bytes.toString("utf8", 0, end));
      bytes = bytes.subarray(end + 1);
    }
    const length = begun.payload ?? 0;
    if (length > bytes.length) break;
    const [message, payload] = [begun, bytes.subarray(0, length)];
    begun = undefined;
    bytes = bytes.subarray(length);
    told(message, payload);
  }
  received = bytes.length === 0 ? [] : [bytes];
  size = bytes.length;
});
channel.on("end", () => process.reallyExit(1));
channel.on("error", () => process.reallyExit(1));

function told(message, payload) {
  switch (message.type) {
    case "health":
      return health(message.id);
    case "close":
      if (phase === "starting") process.reallyExit(0);
      return phase === "running" ? close() : undefined;
    default: {
      const { json } = message;
      const behind = json === undefined ? undefined : new Uint8Array(payload.subarray(json));
      talk.hear(message, payload.toString("utf8", 0, json), behind);
    }
  }
}

// --- other services ---

const invocations = new AsyncLocalStorage();

const talk = makeTalk({
  send(message, text, parts) {
    const body = text === "" ? undefined : Buffer.from(text.isWellFormed() ? text : text.toWellFormed());
    if (body !== undefined) {
      message.payload = parts.reduce((sum, part) => sum + part.byteLength, body.length);
      if (parts.length > 0) message.json = body.length;
    }
    const line = JSON.stringify(message, wellFormed) + "\n";
    writeSoon(body === undefined ? Buffer.from(line) : Buffer.concat([Buffer.from(line), body, ...parts]));
  },
  run: (invocation, deed) => invocations.run(invocation, deed),
  current: () => invocations.getStore(),
  // Node remembers by itself.
  resume: () => {},
  busy: (flag) => {
    if (isJob) channel[flag ? "ref" : "unref"]();
  },
  describe: (error) => describe(error),
  complain: (text) => process.stderr.write(text + "\n"),
});

// --- exceptions ---

const clip = (text) => text.slice(0, TEXT_LIMIT);

// The frames of the service's own code and of its libraries, in the service's own file names.
function frames(stack) {
  const files = new URL(".", import.meta.url).href;
  const hosts = ["host.mjs", "talk.mjs", "service.mjs", "sockets.mjs"].map((file) => files + file);
  const foreign = (line) =>
    line.includes("(node:") || line.includes("at node:") || hosts.some((host) => line.includes(host));
  const location = /^(?:file:\/\/)?(\/.*:\d+)$/.exec(stack.split("\n", 1)[0]);
  const lines = stack.split("\n").map((line) => line.trim());
  const own = lines.filter((line) => line.startsWith("at ") && !foreign(line));
  if (location) own.unshift(`at ${location[1]}`);
  return own.map((line) => line.replaceAll(pathToFileURL(folder).href + "/", "").replaceAll(folder + "/", "")).join("\n");
}

// What a service makes of its values must not keep the host from telling of them.
function textOf(value) {
  try {
    return (typeof value === "object" && value !== null && JSON.stringify(value)) || String(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}

function inWords(value) {
  if (!(value instanceof Error)) return { name: "Error", message: clip(textOf(value)), stack: "" };
  return { name: clip(textOf(value.name)), message: clip(textOf(value.message)), stack: clip(frames(textOf(value.stack))) };
}

function describe(value) {
  const error = inWords(value);
  let cause = value?.cause;
  for (let depth = 0; depth < 4 && cause !== undefined; depth += 1, cause = cause?.cause) {
    const { name, message, stack } = inWords(cause);
    error.stack = clip([error.stack, `caused by ${name}: ${message}`, stack].join("\n"));
  }
  if (value instanceof SyntaxError && error.stack === "") error.stack = whereSyntaxIsWrong(error.message);
  return error;
}

// Node keeps to itself where a module's syntax is wrong; asked about each file on its own, it says it.
function whereSyntaxIsWrong(message) {
  const files = fs.readdirSync(folder, { recursive: true }).filter((file) => /\.m?js$/.test(file));
  const others = files.filter((file) => !file.includes("node_modules")).slice(0, 50);
  for (const file of [path.relative(folder, code), ...others]) {
    const options = { input: fs.readFileSync(path.join(folder, file)), encoding: "utf8", env: {} };
    const { stderr } = spawnSync(process.execPath, ["--check", "--input-type=module"], options);
    const line = /^\[stdin\]:(\d+)$/m.exec(stderr ?? "")?.[1];
    if (line && stderr.includes(`SyntaxError: ${message}`)) return `at ${file}:${line}`;
  }
  return "";
}

function fail(error) {
  say({ type: "failed", error: describe(error) });
  process.exit(1);
}

function except(error) {
  say({ type: "exception", error: describe(error) });
  process.exit(1);
}

process.on("uncaughtException", except);
process.on("unhandledRejection", except);

// --- the service ---

async function health(id) {
  let failure = null;
  try {
    if ((await exported.hooks.get("health")?.()) === false) failure = "health() returned false";
  } catch (error) {
    const { name, message } = describe(error);
    failure = `health() threw ${name}: ${message}`;
  }
  say({ type: "health", id, failure });
}

async function close() {
  phase = "closing";
  // The hook may wait for something that keeps no process alive: the channel does it.
  channel.ref();
  const connections = sockets?.stop();
  await Promise.all([talk.drain(), connections?.answered]);
  try {
    await exported.hooks.get("close")?.();
  } catch (error) {
    except(error);
  }
  // What the hook has left open ends by itself, or with the time that there is for closing.
  await connections?.ended;
  process.exit(0);
}

async function start() {
  try {
    if (process.env.ORCHESTRATOR_LISTEN) {
      sockets = await import("./sockets.mjs");
      sockets.take(process.env.ORCHESTRATOR_LISTEN);
    }
    exported = offered(await import(pathToFileURL(code).href));
    talk.serve(exported.methods);
    await exported.hooks.get("start")?.();
  } catch (error) {
    fail(error);
  }
  phase = "running";
  say({ type: "started", methods: [...exported.methods.keys()].sort(), health: exported.hooks.has("health") });
}

globalThis[Symbol.for("orchestrator.host")] = { close: () => say({ type: "close" }), ...talk.api };
// The service gets its own arguments, after the name of its own file.
process.argv.splice(1, 1);

if (isJob) {
  // A job is complete when nothing but the channel is left to wait for.
  channel.unref();
  process.on("beforeExit", () => {
    if (phase === "starting") fail(new Error("start() waits for something that can never happen"));
    if (phase === "running") close();
  });
}
start();
