// The node plugin's host: runs one service and speaks docs/host-protocol.md on descriptor 3.

import { spawnSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { pathToFileURL } from "node:url";

const DESCRIPTOR = 3;
const TEXT_LIMIT = 64 * 1024;
const HOOKS = ["start", "close", "health"];
const folder = process.cwd();
const code = process.argv[2];
const isJob = process.env.ORCHESTRATOR_KIND === "job";

let exported = { hooks: new Map(), methods: [] };
let phase = "starting";

// --- the channel ---

const channel = new net.Socket({ fd: DESCRIPTOR, readable: true, writable: false });
const nap = new Int32Array(new SharedArrayBuffer(4));

// Half of a character, which JavaScript allows in a text, is nothing that a line of JSON can hold.
const wellFormed = (_key, value) => (typeof value === "string" ? value.toWellFormed() : value);

// Waits until the runner has taken all of it: what is said last is never lost, and nothing is queued here.
function say(message) {
  let rest = Buffer.from(JSON.stringify(message, wellFormed) + "\n");
  while (rest.length > 0) {
    try {
      rest = rest.subarray(fs.writeSync(DESCRIPTOR, rest));
    } catch (error) {
      if (error.code !== "EAGAIN") return;
      Atomics.wait(nap, 0, 0, 1);
    }
  }
}

let received = Buffer.alloc(0);
channel.on("data", (chunk) => {
  received = Buffer.concat([received, chunk]);
  for (let end = received.indexOf("\n"); end !== -1; end = received.indexOf("\n")) {
    const message = JSON.parse(received.subarray(0, end));
    const next = end + 1 + (message.payload ?? 0);
    if (next > received.length) return;
    received = received.subarray(next);
    told(message);
  }
});
channel.on("end", () => process.reallyExit(1));
channel.on("error", () => process.reallyExit(1));

function told(message) {
  if (message.type === "health") health(message.id);
  if (message.type === "close" && phase === "starting") process.reallyExit(0);
  if (message.type === "close" && phase === "running") close();
}

// --- exceptions ---

const clip = (text) => text.slice(0, TEXT_LIMIT);

// The frames of the service's own code and of its libraries, in the service's own file names.
function frames(stack) {
  const host = import.meta.url;
  const foreign = (line) => line.includes("(node:") || line.includes("at node:") || line.includes(host);
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

function isNamespace(value) {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

function methodNames(name, value, depth) {
  if (typeof value === "function") return /^class\b/.test(Function.prototype.toString.call(value)) ? [] : [name];
  if (depth === 0 || !isNamespace(value)) return [];
  return Object.keys(value).flatMap((key) => methodNames(`${name}.${key}`, value[key], depth - 1));
}

// What the module exports by name counts, and what its default export holds, if that is an object.
function read(namespace) {
  const hooks = new Map();
  const methods = new Set();
  const collect = (object, owner) => {
    for (const key of Object.keys(object)) {
      if (HOOKS.includes(key) && typeof object[key] === "function") {
        if (!hooks.has(key)) hooks.set(key, () => object[key].call(owner));
      } else if (key !== "default" && key !== "module.exports") {
        for (const name of methodNames(key, object[key], 8)) methods.add(name);
      }
    }
  };
  const exports = namespace.default;
  const isObject = typeof exports === "object" && exports !== null;
  // The names that node finds in a CommonJS module are those of its default export, and are called on it.
  collect(namespace, undefined);
  if (isObject) collect(exports, exports);
  return { hooks, methods: [...methods].sort() };
}

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
  try {
    await exported.hooks.get("close")?.();
  } catch (error) {
    except(error);
  }
  process.exit(0);
}

async function start() {
  try {
    exported = read(await import(pathToFileURL(code).href));
    await exported.hooks.get("start")?.();
  } catch (error) {
    fail(error);
  }
  phase = "running";
  say({ type: "started", methods: exported.methods, health: exported.hooks.has("health") });
}

globalThis[Symbol.for("orchestrator.close")] = () => say({ type: "close" });
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
