// A program as a member of a fabric: one session after the other, and what goes over them.
"use strict";

const { CallError, misuse } = require("./errors.js");
const { encode, tooLarge } = require("./values.js");
const { serviceName } = require("./options.js");
const { Backoff } = require("./backoff.js");
const { Configuration } = require("./config.js");
const { Sealer } = require("./packets.js");
const { Session } = require("./session.js");
const { Surface } = require("./surface.js");

const NOTHING = [];
const MOST_CONFIGURATIONS = 10_000;
const TYPES = { reply: '{"type":"reply","id":', stream: '{"type":"stream","id":', item: '{"type":"item","id":', end: '{"type":"end","id":' };

class Fabric extends Surface {
  #configurations = new Map();
  #backoff = new Backoff();
  #rev = 1;
  #heads = new Map();
  #unavailable = "there is no connection to Redis";

  constructor(settings) {
    super(settings);
    Object.defineProperty(this, "sealer", { value: new Sealer(settings.key, settings.prefix, settings.redis.db) });
    this.session = undefined;
    this.retriesElsewhere = false;
    this.grace = 0;
    this.left = false;
  }

  // --- sessions ---

  async join() {
    const until = performance.now() + this.settings.timeout;
    for (;;) {
      const error = await this.#open();
      if (error === undefined) return this;
      if (error.final === true || performance.now() >= until) {
        this.left = true;
        this.calls.stop("it could not connect", []);
        const { host, port } = this.settings.redis;
        throw new CallError({ code: "unavailable", message: `Redis at ${host}:${port}: ${said(error)}` });
      }
      await this.#backoff.wait();
    }
  }

  // Begins a session. Gives why it could not.
  async #open(was) {
    const session = new Session(this, was);
    this.opening = session;
    try {
      await session.open();
    } catch (error) {
      return error ?? new Error("the connection was lost");
    } finally {
      this.opening = undefined;
    }
    this.session = session;
    this.began = performance.now();
    this.notice("up");
    for (const configuration of this.#configurations.values()) configuration.compare();
    this.calls.wake();
    return undefined;
  }

  // A session is over. What was under way in it fails, or is tried again in the next one.
  ended(session, error) {
    const wasUp = this.session === session;
    if (wasUp) {
      this.session = undefined;
      this.#unavailable = `there is no connection to Redis: ${said(error)}`;
    }
    for (const peer of session.members.peers.values()) {
      peer.over = true;
      this.serving.lost(peer);
      this.calls.lost(peer, `this member's session was lost: ${said(error)}`);
    }
    if (!wasUp || this.left) return;
    this.notice("down", said(error));
    // One that ends at once again must not be begun again at once.
    if (performance.now() - this.began > this.settings.timeout) this.#backoff.reset();
    this.#again(session.id);
  }

  async #again(was) {
    do await this.#backoff.wait();
    while (!this.left && (await this.#open(was)) !== undefined);
  }

  async leave() {
    this.left = true;
    this.#backoff.stop();
    const session = this.session;
    this.calls.stop("this member of the fabric is closed", session?.members.peers.values() ?? []);
    this.opening?.end(new Error("it was closed"));
    await session?.close();
  }

  #live() {
    if (this.session !== undefined) return this.session;
    throw new CallError({ code: "unavailable", message: this.left ? "this member of the fabric is closed" : this.#unavailable });
  }

  // --- what a session asks ---

  offers() {
    const hears = [...this.listeners.subscriptions.values()].map(({ pattern, group }) => ({ service: this.settings.name, event: pattern, group }));
    return { rev: this.#rev, services: this.offeredServices(), hears };
  }

  load() {
    const load = {};
    for (const { name, running } of this.serving.services.values()) if (running > 0) load[name] = running;
    return load;
  }

  refused(kind) {
    this.tallies[kind] += 1;
    this.notice("refused", kind);
  }

  lost(peer, why, unheard) {
    this.serving.lost(peer);
    this.calls.lost(peer, peer.name === "" ? why : `${peer.name}@${peer.host}: ${why}`, unheard);
  }

  offered() {
    this.calls.wake();
  }

  heard(peer, message, payload) {
    switch (message.type) {
      case "reply":
      case "error":
      case "stream":
      case "item":
      case "end":
        return this.calls.heard(peer, message, payload);
      case "call":
        return this.serving.invoke(peer, message, payload, `${message.from}@${peer.name}`, false);
      case "send":
        return this.serving.invoke(peer, message, payload, `${message.from}@${peer.name}`, true);
      case "cancel":
        return this.serving.cancelled(peer, message.id);
      case "credit":
        return this.serving.credit(peer, message.id, message.items);
      case "event":
        return this.#hearEvent(peer, message, payload);
      case "config":
        return this.#configurations.get(message.service)?.heard(message.name, payload);
    }
  }

  // --- calls ---

  choose(service, method, { key }, tried, only = false) {
    if (this.session === undefined) return { code: "unavailable", message: this.#unavailable };
    if (this.session.isCrowded) return { code: "overloaded", message: "more is said to Redis than it takes" };
    return this.session.members.choose(service, method, key, tried, only);
  }

  // The beginning of each call of a method, which is the same every time.
  #headOf(service, method) {
    let methods = this.#heads.get(service);
    if (methods === undefined) {
      if (this.#heads.size >= 1000) this.#heads.clear();
      this.#heads.set(service, (methods = new Map()));
    }
    let head = methods.get(method);
    if (head === undefined) {
      if (methods.size >= 1000) methods.clear();
      head = `,"service":${JSON.stringify(service)},"method":${JSON.stringify(method)},"from":"@program","id":`;
      methods.set(method, head);
    }
    return head;
  }

  sendCall(peer, call, remaining) {
    const { key } = call.options;
    const type = call.oneWay ? '{"type":"send"' : '{"type":"call"';
    let head = `${type}${this.#headOf(call.service, call.method)}${call.id},"timeout":${remaining}`;
    if (key !== undefined) head += `,"key":${JSON.stringify(key)}`;
    return this.session.post(peer, head, call.text, call.parts);
  }

  cancel(peer, id) {
    this.session?.post(peer, `{"type":"cancel","id":${id}`, "", NOTHING);
  }

  credit(peer, id, items) {
    this.session?.post(peer, `{"type":"credit","id":${id},"items":${items}`, "", NOTHING);
  }

  answer(peer, id, type, text, parts) {
    if (!peer.over) this.session?.post(peer, TYPES[type] + id, text, parts);
  }

  fail(peer, { id, service, method }, { code, message, name, stack }, notRun) {
    if (peer.over) return;
    const error = { code, message, service: service?.name ?? "", method, name, stack };
    const head = `{"type":"error","id":${id},"error":${JSON.stringify(error)}${notRun ? ',"not_run":true' : ""}`;
    this.session?.post(peer, head, "", NOTHING);
  }

  // --- events ---

  async tell(event, data) {
    const session = this.#live();
    const { text, parts } = encode(data);
    const why = tooLarge({ text, parts });
    if (why !== undefined) throw new CallError({ code: "too-large", message: why });
    if (session.isCrowded) throw new CallError({ code: "overloaded", message: "more is said to Redis than it takes" });
    const told = session.members.hearers(event).map(
      ({ peer, all, groups, services }) =>
        new Promise((resolve, reject) => {
          const about = JSON.stringify({ type: "event", event, from: "@program", all, groups, granted: ["*"] });
          session.post(peer, about.slice(0, -1), text, parts, (heard) => {
            if (heard >= 0) resolve(heard > 0 ? services.size : 0);
            else reject(new CallError({ code: "unavailable", message: this.#unavailable }));
          });
        }),
    );
    let receivers = 0;
    for (const number of await Promise.all(told)) receivers += number;
    return receivers;
  }

  // Whoever has the key hears what it listens to: there is no manifest that would grant less.
  #hearEvent(peer, { event, from, all, groups, json }, payload) {
    const { name } = this.settings;
    if (typeof event !== "string") return;
    const own = (Array.isArray(groups) ? groups : []).filter((one) => one?.[0] === name).map((one) => one[1]);
    this.listeners.hear(event, `${from}@${peer.name}`, all === true, own, payload, json);
  }

  async subscribed() {
    await this.changed();
  }

  async unsubscribed() {
    await this.changed();
  }

  // While there is no session, the next one tells it.
  async changed() {
    this.#rev += 1;
    await this.session?.changed();
  }

  // --- configuration ---

  config(service) {
    const name = serviceName(service);
    let found = this.#configurations.get(name);
    if (found === undefined) {
      if (this.#configurations.size >= MOST_CONFIGURATIONS) throw misuse(`a program uses the configuration of ${MOST_CONFIGURATIONS} services at most`);
      this.#configurations.set(name, (found = new Configuration(this, name)));
    }
    return found.api;
  }

  async command(name, ...values) {
    const session = this.#live();
    try {
      return await session.command(name, ...values);
    } catch (error) {
      throw new CallError({ code: "unavailable", message: said(error) });
    }
  }

  async tellAll(head, text) {
    await this.#live().toAll(head, text);
  }

  // --- for people ---

  // Who is there now, with what each offers and has under way.
  members() {
    const found = [];
    for (const peer of this.session?.members.peers.values() ?? []) {
      if (!peer.heard) continue;
      const services = [...peer.services.values()].map(({ name, replicas, load, methods }) => ({ name, replicas, load, methods: [...methods] }));
      const load = services.reduce((sum, service) => sum + service.load, 0);
      found.push({ name: peer.name, host: peer.host, kind: peer.kind, session: peer.session, self: peer.isSelf, services, load });
    }
    return found;
  }
}

const said = (error) => (error instanceof Error ? error.message || error.code || error.name : String(error));

module.exports = { Fabric };
