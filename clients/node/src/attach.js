// A program that is attached to one orchestrator, over its control socket (docs/fabric-protocol.md, "Attaching").
"use strict";

const net = require("node:net");
const { CODES, CallError, misuse } = require("./errors.js");
const { encode, decode, compose, tooLarge } = require("./values.js");
const { serviceName } = require("./options.js");
const { Backoff } = require("./backoff.js");
const { next } = require("./packets.js");
const { Surface } = require("./surface.js");
const { valueName, valueText, tell } = require("./config.js");

const NOTHING = [];
const USUAL_TIMEOUT = 60_000;
const LONGEST_HEAD = 64 * 1024;
// The orchestrator knows better why there was no answer in time, so it gets the time to say it.
const GRACE = 1000;
const REQUEST = "GET /v1/attach HTTP/1.1\r\nHost: orchestrator\r\nConnection: Upgrade\r\nUpgrade: orchestrator-link\r\n\r\n";
// What is more than this is on its way means that the orchestrator does not read.
const MOST_UNSENT = 64 * 1024 * 1024;

// One connection. It is a peer like a member of a fabric, the only one there is.
class Line {
  constructor(owner, number) {
    this.owner = owner;
    this.session = String(number);
    this.calls = new Map();
    this.served = new Map();
    // What was asked besides calls, by its number.
    this.asked = new Map();
    this.offered = { own: 0 };
    this.over = false;
    this.text = "";
    this.isQueued = false;
    this.rest = NOTHING;
  }

  // Connects and upgrades.
  open() {
    return new Promise((resolve, reject) => {
      const { socket: path, timeout } = this.owner.settings;
      this.failed = reject;
      this.socket = net.connect({ path });
      this.patience = setTimeout(() => this.end(new Error(`there was no answer within ${timeout} ms`)), timeout);
      this.socket.on("connect", () => this.socket.write(REQUEST));
      this.socket.on("error", (error) => this.end(error));
      this.socket.on("close", () => this.end(new Error("the connection was closed")));
      let head = Buffer.alloc(0);
      const greeted = (bytes) => {
        head = Buffer.concat([head, bytes]);
        const end = head.indexOf("\r\n\r\n");
        if (end < 0) return head.length > LONGEST_HEAD && this.end(new Error("what answers there is no orchestrator"));
        const [, status] = /^HTTP\/1\.1 (\d{3})/.exec(head.latin1Slice(0, end)) ?? [];
        if (status !== "101") return this.#declined(status, head.subarray(end + 4));
        clearTimeout(this.patience);
        this.failed = undefined;
        this.socket.off("data", greeted);
        this.socket.on("data", (bytes) => this.#read(bytes));
        resolve();
        if (head.length > end + 4) this.#read(head.subarray(end + 4));
      };
      this.socket.on("data", greeted);
    });
  }

  // It has answered, but with something else.
  #declined(status, body) {
    let why = `it answers with status ${status ?? "none"}`;
    try {
      why = JSON.parse(body.toString()).error.message;
    } catch {
      // The status has to do.
    }
    const error = new Error(`${why}: an orchestrator that knows /v1/attach has to run there`);
    error.final = true;
    this.end(error);
  }

  end(error) {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.patience);
    this.socket.destroy();
    for (const { reject } of this.asked.values()) reject(new CallError({ code: "unavailable", message: error.message }));
    this.asked.clear();
    const { failed } = this;
    failed?.(error);
    this.owner.ended(this, error);
  }

  // Says everything that was said so far, and ends.
  async finish() {
    this.#flush();
    await new Promise((resolve) => {
      this.socket.once("close", resolve);
      this.socket.end();
      this.patience = setTimeout(() => this.socket.destroy(), 1000);
    });
  }

  post(head, text, parts) {
    if (this.over) return;
    const { line } = compose(head, text, parts);
    this.text += line;
    if (parts.length > 0) {
      this.#flush();
      for (const part of parts) this.socket.write(part);
    }
    if (this.isQueued) return;
    this.isQueued = true;
    process.nextTick(() => this.#flush());
  }

  #flush() {
    this.isQueued = false;
    if (this.over || this.text === "") return;
    const { text } = this;
    this.text = "";
    this.socket.write(text);
  }

  get isCrowded() {
    return this.socket.writableLength > MOST_UNSENT;
  }

  // Asks for something that is no call.
  ask(head, text = "", parts = NOTHING) {
    return new Promise((resolve, reject) => {
      const id = this.owner.number();
      this.asked.set(id, { resolve, reject });
      this.post(`${head},"id":${id}`, text, parts);
    });
  }

  #read(bytes) {
    // Pieces of a long message are put together once it is whole, not each time that one comes.
    if (this.rest.length > 0) {
      this.rest.push(bytes);
      this.length += bytes.length;
      if (this.length < this.needed) return;
      bytes = Buffer.concat(this.rest);
    }
    let at = 0;
    this.needed = 0;
    try {
      while (at < bytes.length && !this.over) {
        const found = next(bytes, at);
        if (found.message === undefined) {
          this.needed = found.end - at;
          break;
        }
        at = found.end;
        this.owner.heard(this, found.message, found.payload);
      }
    } catch (error) {
      return this.end(new Error(`what the orchestrator says is no message: ${error.message}`));
    }
    const rest = bytes.subarray(at);
    this.rest = rest.length === 0 ? [] : [rest];
    this.length = rest.length;
  }
}

class Attached extends Surface {
  #last = 0;
  #lines = 0;
  #rev = 0;
  #backoff = new Backoff();
  #offers = new Map();
  #offering = Promise.resolve();
  #watchers = new Map();
  #unavailable = "there is no connection to the orchestrator";

  constructor(settings) {
    super(settings);
    this.line = undefined;
    this.opening = undefined;
    this.left = false;
    this.retriesElsewhere = true;
    this.wholeOneWay = true;
    this.grace = GRACE;
    this.project = "";
    this.calls.number = () => this.number();
  }

  // Calls and other questions are numbered together.
  number() {
    return ++this.#last;
  }

  // --- connections ---

  async join() {
    try {
      await this.#open();
    } catch (error) {
      this.left = true;
      this.calls.stop("it could not attach", []);
      const why = error.code === "ENOENT" || error.code === "ECONNREFUSED" ? "no orchestrator runs there" : error.message;
      throw new CallError({ code: "unavailable", message: `${this.settings.socket}: ${why}` });
    }
    return this;
  }

  async #open() {
    const line = new Line(this, ++this.#lines);
    this.opening = line;
    try {
      await line.open();
      await this.#offer(line);
      // What was listened to and watched before.
      for (const subscription of this.listeners.subscriptions.values()) this.#subscribe(line, subscription).catch(() => {});
      for (const service of this.#watchers.keys()) this.#watch(line, service);
    } catch (error) {
      line.end(error);
      throw error;
    } finally {
      this.opening = undefined;
    }
    if (line.over) throw new Error("the connection was closed");
    this.line = line;
    this.began = performance.now();
    this.notice("up");
    this.calls.wake();
  }

  ended(line, error) {
    for (const { reject } of this.#offers.values()) reject(error);
    this.#offers.clear();
    if (this.line !== line) return;
    this.line = undefined;
    this.#unavailable = `the connection to the orchestrator was lost: ${error.message}`;
    this.serving.lost(line);
    this.calls.lost(line, this.#unavailable);
    if (this.left) return;
    this.notice("down", error.message);
    if (performance.now() - this.began > this.settings.timeout) this.#backoff.reset();
    this.#again();
  }

  async #again() {
    while (!this.left) {
      await this.#backoff.wait();
      if (this.left) return;
      try {
        return await this.#open();
      } catch (error) {
        if (error instanceof CallError) this.notice("refused", error.message);
      }
    }
  }

  async leave() {
    this.left = true;
    this.#backoff.stop();
    this.opening?.end(new Error("it was closed"));
    const { line } = this;
    this.calls.stop("this program is not attached any more", line === undefined ? [] : [line]);
    if (line === undefined) return;
    await line.finish();
    line.end(new Error("it was closed"));
  }

  #live() {
    if (this.line !== undefined) return this.line;
    throw new CallError({ code: "unavailable", message: this.left ? "this program is not attached any more" : this.#unavailable });
  }

  // --- what this program has ---

  // Resolves once the orchestrator has accepted it, rejects where it has refused it.
  #offer(line) {
    return new Promise((resolve, reject) => {
      const rev = ++this.#rev;
      this.#offers.set(rev, { resolve, reject });
      const services = this.offeredServices().map(({ name, methods }) => ({ name, methods }));
      line.post(JSON.stringify({ type: "offer", rev, name: this.settings.name, services }).slice(0, -1), "", NOTHING);
    });
  }

  // One after the other: what one brings must not be undone by an earlier one's refusal.
  changed() {
    const offered = this.#offering.then(() => this.line && this.#offer(this.line));
    this.#offering = offered.catch(() => {});
    return offered;
  }

  #subscribe(line, { pattern, group }) {
    const about = group === undefined ? {} : { group };
    return line.ask(JSON.stringify({ type: "subscribe", event: pattern, ...about }).slice(0, -1));
  }

  async subscribed(subscription) {
    if (this.line !== undefined) await this.#subscribe(this.line, subscription);
  }

  async unsubscribed({ pattern, group }) {
    const about = group === undefined ? {} : { group };
    await this.line?.ask(JSON.stringify({ type: "unsubscribe", event: pattern, ...about }).slice(0, -1)).catch(() => {});
  }

  // --- calls ---

  choose() {
    if (this.line === undefined) return { code: "unavailable", message: this.#unavailable };
    if (this.line.isCrowded) return { code: "overloaded", message: "more is said to the orchestrator than it takes" };
    return { peer: this.line, offered: this.line.offered };
  }

  sendCall(line, call, remaining) {
    const { attempt, key, timed } = call.options;
    let head = `{"type":"${call.oneWay ? "send" : "call"}","id":${call.id},"service":${JSON.stringify(call.service)},"method":${JSON.stringify(call.method)}`;
    // Where nobody has said how long, nothing is said: a stream may then take as long as it likes.
    if (timed || remaining > USUAL_TIMEOUT) head += `,"timeout":${remaining}`;
    if (call.retries !== 0) head += `,"retries":${call.retries}`;
    if (attempt !== undefined) head += `,"attempt":${attempt}`;
    if (key !== undefined) head += `,"key":${JSON.stringify(key)}`;
    line.post(head, call.text, call.parts);
    return 0;
  }

  cancel(line, id) {
    line.post(`{"type":"cancel","id":${id}`, "", NOTHING);
  }

  credit(line, id, items) {
    line.post(`{"type":"credit","id":${id},"items":${items}`, "", NOTHING);
  }

  answer(line, id, type, text, parts) {
    line.post(`{"type":"${type}","id":${id}`, text, parts);
  }

  fail(line, { id }, { code, message, name, stack }) {
    const about = code === "service-error" ? {} : { code };
    line.post(JSON.stringify({ type: "error", id, error: { name: name || "Error", message, stack }, ...about }).slice(0, -1), "", NOTHING);
  }

  // --- what comes in ---

  heard(line, message, payload) {
    switch (message.type) {
      case "reply":
      case "error":
      case "stream":
      case "item":
      case "end":
        return this.#answered(line, message, payload);
      case "invoke":
        return this.serving.invoke(line, message, payload, message.from, message.one_way === true);
      case "cancel":
        return this.serving.cancelled(line, message.id);
      case "credit":
        return this.serving.credit(line, message.id, message.items);
      case "event":
        return this.#hearEvent(line, message, payload);
      case "config":
        return this.#hearConfig(message, payload);
      case "accepted":
      case "refused": {
        const offer = this.#offers.get(message.rev);
        this.#offers.delete(message.rev);
        if (message.type === "accepted") {
          if (typeof message.name === "string") this.project = message.name;
          return offer?.resolve();
        }
        const { code, message: why } = message.error ?? {};
        return offer?.reject(new CallError({ code: CODES.includes(code) ? code : "denied", message: String(why ?? "it was refused") }));
      }
    }
  }

  #answered(line, message, payload) {
    const question = line.asked.get(message.id);
    if (question === undefined) return this.calls.heard(line, message, payload);
    line.asked.delete(message.id);
    if (message.type === "error") return question.reject(new CallError(message.error ?? {}));
    try {
      question.resolve(decode(payload, message.json));
    } catch (error) {
      question.reject(error);
    }
  }

  #hearEvent(line, { event, from, all, groups, json }, payload) {
    const wanted = Array.isArray(groups) ? groups : [];
    this.listeners.hear(String(event), String(from), all === true, wanted, payload, json, () => line.post('{"type":"taken","events":1', "", NOTHING));
  }

  // --- events and configuration ---

  async tell(event, data) {
    const { text, parts } = encode(data);
    const why = tooLarge({ text, parts });
    if (why !== undefined) throw new CallError({ code: "too-large", message: why });
    return this.#live().ask(`{"type":"emit","event":${JSON.stringify(event)}`, text, parts);
  }

  #watch(line, service) {
    line.ask(`{"type":"watch-config","service":${JSON.stringify(service)}`).catch((error) => {
      if (!line.over) this.complain(`watching the configuration of ${service}`, error);
    });
  }

  #hearConfig({ service, name, json }, payload) {
    for (const { name: wanted, watcher } of this.#watchers.get(service) ?? []) {
      if (wanted === undefined || wanted === name) tell(this, watcher, name, decode(payload, json));
    }
  }

  config(service) {
    const about = `,"service":${JSON.stringify(serviceName(service))}`;
    const named = (type, name) => `{"type":"${type}"${about},"name":${JSON.stringify(valueName(name))}`;
    return {
      get: async (name) => (await this.#live().ask(named("get-config", name))) ?? null,
      set: async (name, value) => {
        await this.#live().ask(named("set-config", name), valueText(value));
      },
      remove: async (name) => {
        await this.#live().ask(named("set-config", name));
      },
      watch: (name, watcher) => {
        if (typeof name === "function") [name, watcher] = [undefined, name];
        if (typeof watcher !== "function") throw misuse("watch(name, watcher): the watcher is no function");
        const entry = { name: name === undefined ? undefined : valueName(name), watcher };
        let watchers = this.#watchers.get(service);
        if (watchers === undefined) {
          this.#watchers.set(service, (watchers = new Set()));
          if (this.line !== undefined) this.#watch(this.line, service);
        }
        watchers.add(entry);
        return () => void watchers.delete(entry);
      },
    };
  }

  // The orchestrator knows them, a program that is attached does not.
  members() {
    return [];
  }
}

module.exports = { Attached };
