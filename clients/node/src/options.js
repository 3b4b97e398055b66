// What a program may say when it connects, calls and registers, and what is said to it when that is wrong.
"use strict";

const os = require("node:os");
const path = require("node:path");
const { misuse } = require("./errors.js");

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const LONGEST_TIMEOUT = 365 * 24 * 3600 * 1000;
const LONGEST_NAME = 256;

const shown = (value) => {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
};

// Milliseconds, from a number of them or a text such as "1m30s".
function milliseconds(value, what) {
  if (typeof value === "number" && value >= 0) return Math.min(Math.round(value), LONGEST_TIMEOUT);
  const parts = typeof value === "string" ? [...value.matchAll(/(\d+)(ms|s|m|h)/g)] : [];
  if (parts.length > 0 && parts.map(([part]) => part).join("") === value) {
    const sum = parts.reduce((sum, [, number, unit]) => sum + Number(number) * UNITS[unit], 0);
    return Math.min(sum, LONGEST_TIMEOUT);
  }
  throw misuse(`${what} is a number of milliseconds or a text such as "1m30s", not ${shown(value)}`);
}

function known(options, names, what) {
  if (typeof options !== "object" || options === null) throw misuse(`${what} are an object, not ${shown(options)}`);
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) throw misuse(`${what}: there is no option '${name}'; there are ${names.join(", ")}`);
  }
  return options;
}

// A DNS label, as names of services and programs are.
function label(value, what) {
  if (typeof value === "string" && /^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(value)) return value;
  throw misuse(`${what} has lower-case letters, digits and '-', begins with a letter, and has at most 63 of them: not ${shown(value)}`);
}

// The name of a service that is called: a child's has slashes.
function serviceName(value) {
  if (typeof value === "string" && value !== "" && value.length <= LONGEST_NAME) return value;
  throw misuse(`a service's name is a text of 1 to ${LONGEST_NAME} characters, not ${shown(value)}`);
}

function methodName(value) {
  if (typeof value === "string" && value !== "" && value.length <= LONGEST_NAME) return value;
  throw misuse(`a method's name is a text of 1 to ${LONGEST_NAME} characters, not ${shown(value)}`);
}

// A pattern of events, or with `exact` an event's name.
function eventName(value, exact) {
  const text = String(value);
  const fail = (why) => {
    throw misuse(`${shown(text)} cannot be ${exact ? "the name of an event" : "listened to"}: ${why}`);
  };
  if (Buffer.byteLength(text) > LONGEST_NAME) fail(`a name has at most ${LONGEST_NAME} bytes`);
  if (/[\s\p{Cc}"'\\]/u.test(text)) fail("no spaces, quotes and backslashes are in a name");
  const parts = text.split(".");
  for (const [index, part] of parts.entries()) {
    if (part === "") fail("a part of it is empty");
    if (part.includes("*") && (exact || part !== "*" || index !== parts.length - 1)) fail("'*' is the last part of a pattern, as in 'user.*'");
  }
  return text;
}

function count(value, what, least, most) {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw misuse(`${what} is a whole number from ${least} to ${most}, not ${shown(value)}`);
}

const CALL = ["timeout", "retries", "attempt", "key", "signal"];

// The options of a call, checked, on top of others.
function callOptions(options, base) {
  known(options, CALL, "the options of a call");
  const result = { ...base };
  if (options.timeout !== undefined) {
    result.timeout = milliseconds(options.timeout, "timeout");
    result.timed = true;
  }
  if (options.attempt !== undefined) result.attempt = milliseconds(options.attempt, "attempt");
  if (options.retries !== undefined) result.retries = count(options.retries, "retries", -1, 1_000_000);
  if (options.key !== undefined) {
    result.key = String(options.key);
    if (result.key.length > 64 * 1024) throw misuse("key: a text of at most 65536 characters says where a call belongs");
  }
  if (options.signal !== undefined && options.signal !== null) {
    if (typeof options.signal.addEventListener !== "function") throw misuse("signal is an AbortSignal: new AbortController().signal");
    result.signal = options.signal;
  }
  return result;
}

const REDIS = ["host", "port", "db", "username", "password", "tls"];

function redisOf(redis) {
  if (typeof redis === "string") {
    // What is wrong is never shown: there might be a password in it.
    const example = "redis is a URL such as redis://localhost:6379/0 or rediss://user:password@host:6380/0";
    let url;
    try {
      url = new URL(redis);
    } catch {
      throw misuse(`${example}; this text is none`);
    }
    if (url.protocol !== "redis:" && url.protocol !== "rediss:") throw misuse(`${example}; this one begins with ${url.protocol}`);
    if (url.hostname === "") throw misuse(`${example}; this one has no host`);
    if (url.search !== "" || url.hash !== "") throw misuse(`${example}; this one has something behind a '?' or a '#'`);
    const db = url.pathname.replace(/^\//, "");
    if (!/^\d{0,5}$/.test(db)) throw misuse(`${example}; behind the host of this one stands no number`);
    return {
      host: url.hostname.replace(/^\[|\]$/g, ""),
      port: url.port === "" ? 6379 : Number(url.port),
      db: Number(db),
      username: url.username === "" ? undefined : decodeURIComponent(url.username),
      password: url.password === "" ? undefined : decodeURIComponent(url.password),
      tls: url.protocol === "rediss:" ? {} : undefined,
    };
  }
  const { host = "localhost", port = 6379, db = 0, username, password, tls } = known(redis, REDIS, "the options of redis");
  if (typeof host !== "string" || host === "") throw misuse(`redis.host is a text such as "localhost", not ${shown(host)}`);
  count(port, "redis.port", 1, 65535);
  count(db, "redis.db", 0, 99999);
  return { host, port, db, username, password, tls: tls === true ? {} : tls || undefined };
}

function keyOf(key) {
  const make = "make one with: openssl rand -hex 32";
  if (key === undefined || key === null) throw misuse(`key is missing: all members of a fabric share one; ${make}`);
  if (typeof key !== "string" && !(key instanceof Uint8Array)) throw misuse(`key is a text or bytes; ${make}`);
  const bytes = Buffer.from(key);
  if (bytes.length < 32) throw misuse(`key has ${bytes.length} bytes, and needs 32 or more; ${make}`);
  return bytes;
}

const COMMON = ["name", "callTimeout", "onStatus", "onError"];
const FABRIC = ["redis", "key", "prefix", "timeout", ...COMMON];
const ATTACHED = ["socket", "project", "timeout", ...COMMON];

// Where the control socket of a project of this user is: docs/control-api.md.
function socketOf(project) {
  const uid = process.getuid?.() ?? 0;
  const login = `/run/user/${uid}`;
  const isFolder = (folder) => require("node:fs").statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true;
  const base = process.env.XDG_RUNTIME_DIR || (isFolder(login) ? login : uid === 0 ? "/run" : undefined);
  const root = base === undefined ? path.join(os.tmpdir(), `orchestrator-${uid}`) : path.join(base, "orchestrator");
  return path.join(root, project, "control.sock");
}

// What `connect` was told, checked and with everything that it was not told.
function connectOptions(options) {
  const hint = 'connect({ redis: "redis://localhost:6379", key }) joins a fabric, connect({ project: "shop" }) attaches to an orchestrator here';
  if (typeof options !== "object" || options === null) throw misuse(hint);
  const ways = ["redis", "socket", "project"].filter((way) => options[way] !== undefined);
  if (ways.length !== 1) throw misuse(`${ways.length === 0 ? "it is not said where" : `${ways.join(" and ")} exclude each other`}: ${hint}`);
  const joins = ways[0] === "redis";
  known(options, joins ? FABRIC : ATTACHED, "the options of connect");
  for (const name of ["onStatus", "onError"]) {
    if (options[name] !== undefined && typeof options[name] !== "function") throw misuse(`${name} is a function`);
  }
  const common = {
    name: label(options.name ?? "program", "name"),
    timeout: count(milliseconds(options.timeout ?? 6000, "timeout"), "timeout", 100, 600_000),
    callTimeout: milliseconds(options.callTimeout ?? 60_000, "callTimeout"),
    onStatus: options.onStatus,
    onError: options.onError,
  };
  if (!joins) {
    const { socket, project } = options;
    if (project !== undefined) return { ...common, socket: socketOf(label(project, "project")) };
    if (typeof socket !== "string" || socket === "") throw misuse(`socket is the path of a control socket, not ${shown(socket)}`);
    return { ...common, socket };
  }
  const { prefix = "orchestrator" } = options;
  if (typeof prefix !== "string" || !/^[\x21-\x7e]{1,128}$/.test(prefix)) {
    throw misuse(`prefix is a text of 1 to 128 letters, digits and signs, not ${shown(prefix)}`);
  }
  return { ...common, redis: redisOf(options.redis), key: keyOf(options.key), prefix };
}

module.exports = { connectOptions, callOptions, known, label, serviceName, methodName, eventName, count, shown };
