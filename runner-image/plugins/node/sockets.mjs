// The listening sockets that a start is given (docs/host-protocol.md, "Listening sockets"), for programs that do not know
// of them: `listen` with a port or path of the manifest takes the socket that was passed, and when the service closes,
// nothing that has come over one is lost.

import { subscribe } from "node:diagnostics_channel";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import os from "node:os";
import path from "node:path";

const FIRST = 3;
// How long a client that keeps a connection open may be silent before it is believed to send nothing more: a request
// that is on its way when the connection is closed would be lost.
const GRACE = 1000;
// `listen` sets the length of the queue again, for all who share the socket. The kernel makes this what it allows.
const BACKLOG = 65_535;

const { listen, close } = net.Server.prototype;

// Those passed, of whom each has the server that has taken it; and the servers' listeners.
let passed = [];
const listeners = new Map();

// --- what is passed ---

function parse(entry, index) {
  const address = entry.slice(entry.indexOf("=") + 1);
  const descriptor = FIRST + index;
  if (address.startsWith("/")) return { descriptor, path: address, server: undefined };
  const colon = address.lastIndexOf(":");
  const host = address.slice(0, colon).replace(/^\[|\]$/g, "");
  return { descriptor, host, port: Number(address.slice(colon + 1)), server: undefined };
}

// What the first argument of `listen` means; nothing where it is a handle.
function asked(first) {
  if (typeof first === "string") return Number(first) >= 0 ? { port: first } : { path: first };
  if (typeof first !== "object" || first === null) return { port: first };
  return [first.fd, first.handle, first._handle].some((handle) => handle !== undefined) ? {} : first;
}

// The socket that is meant: one that is free if possible, and whose host was asked for if there is one.
function find({ port, path: file, host }) {
  if (typeof port === "number" || typeof port === "string") {
    const same = passed.filter((socket) => socket.port === Number(port));
    const free = same.filter(({ server }) => server === undefined);
    return free.find((socket) => socket.host === host) ?? free[0] ?? same[0];
  }
  return typeof file === "string" ? passed.find((socket) => isPath(socket.path, file)) : undefined;
}

// A relative path is one of the code's folder to the program, and one of the manifest's to the orchestrator.
function isPath(listed, file) {
  return listed === path.resolve(file) || (!path.isAbsolute(file) && listed?.endsWith(path.join("/", file)) === true);
}

// --- listening ---

function listenOnPassed(...values) {
  const options = asked(values[0]);
  const socket = this.listening ? undefined : find(options);
  if (socket === undefined) return listen.apply(this, values);
  if (socket.server !== undefined) {
    process.nextTick(() => this.emit("error", taken(socket)));
    return this;
  }
  socket.server = this;
  listeners.set(this, new Listener(this));
  // What node answers as the address of a server that listens on a path.
  if (socket.path !== undefined) this._pipeName = options.path ?? values[0];
  const callback = values.findLast((value) => typeof value === "function");
  const settings = { fd: socket.descriptor, signal: options.signal };
  return listen.call(this, settings, BACKLOG, ...(callback ? [callback] : []));
}

function taken({ server, host, port, path: address = host }) {
  const code = server.listening ? "EADDRINUSE" : "EADDRNOTAVAIL";
  const where = port === undefined ? address : `${address}:${port}`;
  const why = server.listening ? "address already in use" : "this start has closed its socket; restart the service to have it again";
  const error = new Error(`listen ${code}: ${why} ${where}`);
  return Object.assign(error, { code, errno: -os.constants.errno[code], syscall: "listen", address, port });
}

// The service's own `close` may close what is closed already.
function closeOnce(callback) {
  const listener = listeners.get(this);
  if (!listener?.closing) return close.call(this, callback);
  if (typeof callback === "function") listener.ended.then(() => process.nextTick(callback));
  return this;
}

// A server that listens on a passed socket, with the connections of which is known when they are done: those of HTTP.
class Listener {
  closing = false;
  #server;
  // By its connection: how many requests are under way, and the timer of its silence.
  #conversations = new Map();
  #responses = new Set();
  #sessions = new Set();
  #answered;

  constructor(server) {
    this.#server = server;
    this.ended = new Promise((resolve) => server.once("close", resolve));
    server.once("close", () => this.closing || listeners.delete(server));
    this.answered = new Promise((resolve) => (this.#answered = resolve));
    if (server instanceof http.Server) server.on("connection", (socket) => this.#connected(socket));
    else if (server instanceof https.Server) server.on("secureConnection", (socket) => this.#connected(socket));
    else server.on("session", (session) => this.#opened(session));
  }

  // Accepts nothing more. Not by the server's own `close`, which cuts connections that are silent just now.
  stop() {
    this.closing = true;
    for (const response of this.#responses) response.shouldKeepAlive = false;
    for (const session of this.#sessions) session.close();
    for (const socket of this.#conversations.keys()) this.#awaitSilence(socket);
    close.call(this.#server);
    this.#settle();
  }

  hear({ response, socket }) {
    const conversation = this.#conversations.get(socket);
    if (conversation === undefined) return;
    conversation.requests += 1;
    this.#responses.add(response);
    if (this.closing) response.shouldKeepAlive = false;
    response.once("close", () => {
      conversation.requests -= 1;
      this.#responses.delete(response);
      if (this.closing) this.#awaitSilence(socket);
    });
  }

  #connected(socket) {
    this.#conversations.set(socket, { requests: 0, timer: undefined });
    socket.once("close", () => this.#forget(socket));
    if (this.closing) this.#awaitSilence(socket);
  }

  // HTTP/2 says by itself which requests are still answered.
  #opened(session) {
    this.#sessions.add(session);
    session.once("close", () => {
      this.#sessions.delete(session);
      this.#settle();
    });
    if (this.closing) session.close();
  }

  #forget(socket) {
    clearTimeout(this.#conversations.get(socket)?.timer);
    this.#conversations.delete(socket);
    this.#settle();
  }

  #awaitSilence(socket) {
    const conversation = this.#conversations.get(socket);
    if (conversation === undefined || conversation.requests > 0) return;
    // It speaks another protocol by now, whose end only the service knows.
    if (socket.parser === null) return this.#forget(socket);
    clearTimeout(conversation.timer);
    const heard = socket.bytesRead;
    conversation.timer = setTimeout(() => {
      if (socket.bytesRead !== heard) this.#awaitSilence(socket);
      else if (conversation.requests === 0) socket.destroy();
    }, GRACE);
  }

  #settle() {
    if (this.closing && this.#conversations.size === 0 && this.#sessions.size === 0) this.#answered();
  }
}

// --- the host's part ---

// Takes the sockets of `ORCHESTRATOR_LISTEN`. From now on `listen` finds them.
export function take(addresses) {
  passed = addresses.split(";").map(parse);
  net.Server.prototype.listen = listenOnPassed;
  net.Server.prototype.close = closeOnce;
  subscribe("http.server.request.start", (message) => listeners.get(message.server)?.hear(message));
}

// Accepts nothing more. `answered` resolves when every HTTP request is, and what else there is has had a moment; `ended`
// when all connections have.
export function stop() {
  const stopped = [...listeners.values()];
  for (const listener of stopped) listener.stop();
  const moment = new Promise((resolve) => setTimeout(resolve, GRACE));
  return {
    answered: Promise.all(stopped.map(async ({ answered, ended }) => (await answered, Promise.race([ended, moment])))),
    ended: Promise.all(stopped.map(({ ended }) => ended)),
  };
}
