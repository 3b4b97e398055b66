// What a program uses: the same names whether it has joined a fabric or attached to an orchestrator.
"use strict";

const { EventEmitter } = require("node:events");
const { inspect } = require("node:util");
const { CallError, describe, misuse } = require("./errors.js");
const { callOptions, eventName, known, label, count, serviceName, methodName, shown } = require("./options.js");
const { Calls } = require("./calls.js");
const { Listeners } = require("./events.js");
const { Serving } = require("./serving.js");

const NONE = [];
const MOST_IN_FLIGHT = 1_000_000;

class Surface {
  #notices = new EventEmitter();
  #status = "down";

  // `link` says how messages travel: see Calls and Serving.
  constructor(settings) {
    // Not shown with the rest: there is a key in it, and a password.
    Object.defineProperty(this, "settings", { value: settings });
    this.tallies = { forged: 0, stale: 0, replayed: 0, stranger: 0, malformed: 0, late: 0, lost: 0 };
    this.calls = new Calls(this, this.tallies);
    this.serving = new Serving(this, (what, error) => this.complain(what, error));
    this.serving.cancelNested = (call) => this.calls.cancel(call, "what it was made for is not wanted any more");
    this.listeners = new Listeners((what, error) => this.complain(what, error), this.tallies);
    this.defaults = { timeout: settings.callTimeout, timed: false, retries: 0, attempt: undefined, key: undefined, signal: undefined };
    this.closing = undefined;
    this.#notices.setMaxListeners(0);
    if (settings.onStatus !== undefined) this.#notices.on("notice", settings.onStatus);
  }

  [inspect.custom]() {
    return `${this.constructor.name} { name: ${shown(this.settings.name)}, status: ${shown(this.#status)} }`;
  }

  get status() {
    return this.#status;
  }

  // Refused packets by kind; answers that nobody waited for (late), events that nobody had room for (lost).
  get counts() {
    return { ...this.tallies };
  }

  // Calls `told(status, about)` with "up", "down" (about: why) and "refused" (about: which kind of packet).
  onStatus(told) {
    if (typeof told !== "function") throw misuse("onStatus(told): it is no function");
    const entry = (...values) => told(...values);
    this.#notices.on("notice", entry);
    return () => void this.#notices.off("notice", entry);
  }

  notice(status, about) {
    if (status !== "refused") {
      if (this.#status === status) return;
      this.#status = status;
    }
    for (const told of this.#notices.listeners("notice")) {
      try {
        told(status, about);
      } catch (error) {
        this.complain("a listener of the status", error);
      }
    }
  }

  // What nobody else can be told.
  complain(what, error) {
    if (this.settings.onError !== undefined) return this.settings.onError(error, what);
    const { name, message, stack } = describe(error);
    console.error(`${what} threw ${name}: ${message}${stack === "" ? "" : `\n${stack}`}`);
  }

  // --- calls ---

  // services.NAME.method(...), .options({...}), .send(...)
  services = this.#makeServices();

  #makeServices() {
    const names = new Map();
    const surface = this;
    return new Proxy(Object.freeze({}), {
      get(_, name) {
        if (typeof name !== "string" || name === "then") return undefined;
        let found = names.get(name);
        if (found === undefined) {
          found = surface.#methodOf(serviceName(name), "", undefined);
          // Names are the program's own; should it make them up without end, they are not all kept.
          if (names.size < 10_000) names.set(name, found);
        }
        return found;
      },
    });
  }

  #methodOf(service, path, options) {
    const made = new Map();
    const base = () => options ?? this.defaults;
    const target =
      path === ""
        ? () => {
            throw misuse(`a service has no method without a name: services${/^\w+$/.test(service) ? `.${service}` : `[${shown(service)}]`}.METHOD(...)`);
          }
        : (...values) => this.calls.start(service, path, base(), values, false);
    return new Proxy(target, {
      get: (_, key) => {
        if (typeof key !== "string" || key === "then") return undefined;
        let found = made.get(key);
        if (found !== undefined) return found;
        if (key === "options") found = (more) => this.#methodOf(service, path, callOptions(more ?? {}, base()));
        else if (key === "send" && path !== "") found = (...values) => this.calls.start(service, path, base(), values, true);
        else found = this.#methodOf(service, methodName(path === "" ? key : `${path}.${key}`), options);
        if (made.size < 10_000) made.set(key, found);
        return found;
      },
    });
  }

  #start(service, method, values, options, oneWay) {
    if (!Array.isArray(values)) throw misuse(`the arguments of ${service}.${method} are a list, as in call("catalog", "get", [1])`);
    const checked = options === undefined ? this.defaults : callOptions(options, this.defaults);
    return this.calls.start(serviceName(service), methodName(method), checked, values, oneWay);
  }

  call(service, method, values = NONE, options) {
    return this.#start(service, method, values, options, false);
  }

  send(service, method, values = NONE, options) {
    return this.#start(service, method, values, options, true);
  }

  // --- events ---

  async emit(event, data) {
    return this.tell(eventName(event, true), data);
  }

  async on(event, handler, options = {}) {
    known(options, ["group"], "the options of on");
    const group = options.group === undefined ? undefined : String(options.group);
    const { subscription, isNew, remove } = this.listeners.add(eventName(event, false), group, handler);
    // Who listens to the same must wait for the same.
    if (isNew) subscription.made = this.subscribed(subscription);
    try {
      await subscription.made;
    } catch (error) {
      remove();
      throw error;
    }
    return async () => {
      const last = remove();
      if (last !== undefined) await this.unsubscribed(last);
    };
  }

  // --- services of this program ---

  async register(name, methods, options = {}) {
    known(options, ["maxInFlight"], "the options of register");
    label(name, "a service's name");
    const maxInFlight = count(options.maxInFlight ?? 512, "maxInFlight", 1, MOST_IN_FLIGHT);
    if (this.closing !== undefined) throw new CallError({ code: "unavailable", message: "it is closed" });
    const service = this.serving.add(name, methods, maxInFlight);
    try {
      await this.changed();
    } catch (error) {
      this.serving.services.delete(name);
      throw error;
    }
    let closed;
    const close = async () => {
      const drained = this.serving.drain(service);
      await Promise.all([drained, this.changed()]);
    };
    return { name, methods: [...service.methods.keys()], close: () => (closed ??= close()) };
  }

  // The services that can be called now.
  offeredServices() {
    const open = [...this.serving.services.values()].filter((service) => !service.closing);
    return open.map(({ name, methods, running }) => ({ name, replicas: 1, load: running, methods: [...methods.keys()] }));
  }

  // --- the end ---

  // Finishes what is served here, says so to the others, and leaves nothing open.
  close() {
    return (this.closing ??= this.#close());
  }

  async #close() {
    const drained = [...this.serving.services.values()].map((service) => this.serving.drain(service));
    const changed = drained.length > 0 ? this.changed().catch(() => {}) : undefined;
    let timer;
    const patience = new Promise((resolve) => (timer = setTimeout(resolve, this.settings.callTimeout)));
    await Promise.race([Promise.all([...drained, changed]), patience]);
    clearTimeout(timer);
    await this.leave();
    this.notice("down", "it was closed");
  }
}

module.exports = { Surface };
