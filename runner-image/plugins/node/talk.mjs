// What a service says to other services and hears from them, in every JavaScript host: docs/host-protocol.md, "Between
// services". Nothing in here is node's: the host says how messages travel.
//
// host: { send(message, text, parts)   one message; its payload is the JSON text, and the bytes behind it
//         run(call, deed)              does something during an invocation
//         current()                    the invocation during which this is done, if any
//         resume(call)                 what follows is done during this one, or during none
//         busy(flag)                   whether an answer is waited for
//         describe(error)              { name, message, stack }
//         complain(text) }             what nobody else can be told

import { ServiceError, isBytes } from "./service.mjs";

const STREAM_WINDOW = 8;
const CODES = ["timeout", "unavailable", "denied", "not-found", "overloaded", "too-large", "service-error", "cancelled"];
const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

// --- payloads ---

function hasBytes(value, depth = 0) {
  if (typeof value !== "object" || value === null) return false;
  // Deeper than anybody means it: the encoder finds out what it is.
  if (depth > 64 || isBytes(value)) return true;
  if (Array.isArray(value)) return value.some((item) => hasBytes(item, depth + 1));
  for (const key in value) if (hasBytes(value[key], depth + 1)) return true;
  return false;
}

// The JSON text of a value, and the bytes that go behind it.
function encode(value) {
  if (value === undefined) return { text: "", parts: [] };
  if (!hasBytes(value)) return { text: JSON.stringify(value) ?? "", parts: [] };
  const parts = [];
  const wrapped = new WeakSet();
  let offset = 0;
  const text = JSON.stringify(value, function replace(key, plain) {
    const own = this[key];
    if (isBytes(own)) {
      const part = ArrayBuffer.isView(own) ? new Uint8Array(own.buffer, own.byteOffset, own.byteLength) : new Uint8Array(own);
      parts.push(part);
      offset += part.byteLength;
      return { $bytes: [offset - part.byteLength, part.byteLength] };
    }
    if (typeof own === "object" && own !== null && Object.hasOwn(own, "$bytes") && !wrapped.has(own) && !wrapped.has(this)) {
      wrapped.add(own);
      return { $bytes: "plain", value: own };
    }
    return plain;
  });
  return { text, parts };
}

function decode(text, behind) {
  if (text === "") return undefined;
  const value = JSON.parse(text);
  return behind ? revive(value, behind) : value;
}

function revive(value, behind) {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => revive(item, behind));
  if (Object.hasOwn(value, "$bytes")) {
    const extent = value.$bytes;
    if (Array.isArray(extent)) return behind.slice(extent[0], extent[0] + extent[1]);
    value = value.value;
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, revive(item, behind)]));
}

// Milliseconds, from a number of them or a text such as "1m30s".
export function milliseconds(value, what) {
  if (typeof value === "number" && value >= 0) return Math.round(value);
  const parts = typeof value === "string" ? [...value.matchAll(/(\d+)(ms|s|m|h)/g)] : [];
  if (parts.length > 0 && parts.map(([part]) => part).join("") === value) {
    return parts.reduce((sum, [, number, unit]) => sum + Number(number) * UNITS[unit], 0);
  }
  throw new TypeError(`${what} is a number of milliseconds or a text such as "1m30s", not ${JSON.stringify(value)}`);
}

// --- both directions ---

export function makeTalk(host) {
  let last = 0;
  let methods = new Map();
  // What was asked for, by its number; what is asked of this service, by the Router's.
  const asked = new Map();
  const serving = new Map();
  // Told when nothing is served any more, once the service closes.
  let idle;

  function send(message, value) {
    const { text, parts } = encode(value);
    host.send(message, text, parts);
  }

  // Asks for something; `entry` hears what comes of it.
  function ask(message, value, entry) {
    message.id = ++last;
    send(message, value);
    if (asked.size === 0) host.busy(true);
    entry.during = host.current();
    asked.set(message.id, entry);
    return message.id;
  }

  function done(id) {
    asked.delete(id);
    if (asked.size === 0) host.busy(false);
  }

  const request = (message, value) =>
    new Promise((resolve, reject) => {
      ask(message, value, { resolve, reject });
    });

  // A result that may be waited for, or gone through if it is many.
  class Result extends Promise {
    static get [Symbol.species]() {
      return Promise;
    }

    async *[Symbol.asyncIterator]() {
      const result = await this;
      if (typeof result?.[Symbol.asyncIterator] !== "function") throw new TypeError("the result is no stream: await it");
      yield* result;
    }
  }

  // The items of a stream that another service sends.
  class Items {
    constructor(id) {
      this.id = id;
      this.items = [];
      this.waiting = [];
      this.taken = 0;
      this.over = false;
    }

    [Symbol.asyncIterator]() {
      return this;
    }

    hear(item) {
      const waiter = this.waiting.shift();
      if (waiter) waiter.resolve(this.#take(item));
      else this.items.push(item);
    }

    end(error) {
      this.over = true;
      done(this.id);
      for (const { resolve, reject } of this.waiting.splice(0)) {
        if (error) reject(error);
        else resolve({ done: true, value: undefined });
        error = undefined;
      }
      this.error = error;
    }

    #take(value) {
      this.taken += 1;
      if (this.taken >= STREAM_WINDOW / 2 && !this.over) {
        host.send({ type: "credit", id: this.id, items: this.taken }, "", []);
        this.taken = 0;
      }
      return { done: false, value };
    }

    async next() {
      if (this.items.length > 0) return this.#take(this.items.shift());
      if (this.over) {
        const error = this.error;
        this.error = undefined;
        if (error) throw error;
        return { done: true, value: undefined };
      }
      return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
    }

    async return(value) {
      if (!this.over) {
        host.send({ type: "cancel", id: this.id }, "", []);
        this.end();
      }
      this.items = [];
      return { done: true, value };
    }
  }

  function aboutCall(type, service, method, options) {
    const message = { type, id: 0, service, method };
    if (options.timeout !== undefined) message.timeout = milliseconds(options.timeout, "timeout");
    if (options.attempt !== undefined) message.attempt = milliseconds(options.attempt, "attempt");
    if (options.retries !== undefined) message.retries = options.retries;
    if (options.key !== undefined) message.key = String(options.key);
    const within = host.current();
    if (within !== undefined) message.within = within.id;
    return message;
  }

  function call(service, method, options, values) {
    return new Result((resolve, reject) => {
      const { signal } = options;
      const cancelled = () => new ServiceError({ code: "cancelled", message: "it was not wanted any more", service, method });
      if (signal?.aborted) return reject(cancelled());
      const id = ask(aboutCall("call", service, method, options), values, { resolve, reject });
      signal?.addEventListener("abort", () => {
        if (!asked.has(id)) return;
        host.send({ type: "cancel", id }, "", []);
        const { items } = asked.get(id);
        if (items) return items.end(cancelled());
        done(id);
        reject(cancelled());
      });
    });
  }

  // services.NAME.method(...), .options({...}), .send(...)
  function methodOf(service, path, options) {
    const target = (...values) => call(service, path, options, values);
    return new Proxy(target, {
      get(cache, key) {
        if (typeof key !== "string" || key === "then") return undefined;
        if (Object.hasOwn(cache, `.${key}`)) return cache[`.${key}`];
        let found;
        if (key === "options") found = (more) => methodOf(service, path, { ...options, ...more });
        else if (key === "send") found = (...values) => request(aboutCall("send", service, path, options), values);
        else found = methodOf(service, path === "" ? key : `${path}.${key}`, options);
        cache[`.${key}`] = found;
        return found;
      },
    });
  }

  const services = new Proxy(
    {},
    {
      get(cache, name) {
        if (typeof name !== "string") return undefined;
        if (!Object.hasOwn(cache, name)) cache[name] = methodOf(name, "", {});
        return cache[name];
      },
    },
  );

  // --- events ---

  // By pattern and group: the handlers that want them.
  const subscriptions = new Map();
  let untold = 0;

  const keyOf = (pattern, { group } = {}) => JSON.stringify([String(pattern), group ?? null]);
  const subscription = (type, pattern, { group } = {}) => ({ type, event: String(pattern), ...(group === undefined ? {} : { group: String(group) }) });

  async function on(pattern, handler, options) {
    if (typeof handler !== "function") throw new TypeError("on(event, handler): the handler is no function");
    const key = keyOf(pattern, options);
    const known = subscriptions.get(key);
    if (known) {
      known.handlers.add(handler);
      return known.made;
    }
    const handlers = new Set([handler]);
    const made = request(subscription("subscribe", pattern, options)).then(() => undefined);
    subscriptions.set(key, { pattern: String(pattern), group: options?.group, handlers, made });
    made.catch(() => subscriptions.delete(key));
    return made;
  }

  async function off(pattern, handler, options) {
    const key = keyOf(pattern, options);
    const known = subscriptions.get(key);
    if (!known?.handlers.delete(handler) || known.handlers.size > 0) return;
    subscriptions.delete(key);
    await request(subscription("unsubscribe", pattern, options));
  }

  const covers = (pattern, event) =>
    pattern.endsWith("*") ? event.length >= pattern.length && event.startsWith(pattern.slice(0, -1)) : pattern === event;

  async function hearEvent({ event, from, groups = [], all = false }, text, behind) {
    const handlers = new Set();
    for (const { pattern, group, handlers: wanted } of subscriptions.values()) {
      if (covers(pattern, event) && (group === undefined ? all : groups.includes(String(group)))) {
        for (const handler of wanted) handlers.add(handler);
      }
    }
    const about = { event, from };
    const handled = [...handlers].map(async (handler) => handler(decode(text, behind), about));
    for (const { status, reason } of await Promise.allSettled(handled)) {
      if (status === "rejected") complain(`a handler of ${event}`, reason);
    }
    untold += 1;
    if (untold === 1) {
      queueMicrotask(() => {
        host.send({ type: "taken", events: untold }, "", []);
        untold = 0;
      });
    }
  }

  function complain(what, error) {
    const { name, message, stack } = host.describe(error);
    host.complain(`${what} threw ${name}: ${message}${stack === "" ? "" : `\n${stack}`}`);
  }

  // --- being called ---

  class Invocation {
    constructor({ id, method, from, timeout, one_way }) {
      this.id = id;
      this.method = method;
      this.from = from;
      this.deadline = Date.now() + timeout;
      this.oneWay = one_way === true;
      this.credit = STREAM_WINDOW;
      this.cancelled = false;
    }

    // Aborted when the result is not wanted any more.
    get signal() {
      this.controller ??= new AbortController();
      if (this.cancelled) this.controller.abort();
      return this.controller.signal;
    }

    cancel() {
      this.cancelled = true;
      this.controller?.abort();
      this.wake?.();
    }
  }

  function invoke(message, text, behind) {
    const method = methods.get(message.method);
    const invocation = new Invocation(message);
    if (method === undefined) {
      const error = { name: "Error", message: `there is no method '${message.method}'`, stack: "" };
      return host.send({ type: "error", id: message.id, error, code: "not-found" }, "", []);
    }
    serving.set(message.id, invocation);
    let result;
    try {
      const values = decode(text, behind) ?? [];
      result = host.run(invocation, () => method(...values));
    } catch (error) {
      return thrown(invocation, error);
    }
    if (typeof result?.then === "function") {
      result.then(
        (value) => answer(invocation, value),
        (error) => thrown(invocation, error),
      );
    } else {
      answer(invocation, result);
    }
  }

  // Whether it was still being served.
  function left(id) {
    const was = serving.delete(id);
    if (serving.size === 0) idle?.();
    return was;
  }

  // What is under way is finished, but for streams, which have no end.
  function drain() {
    for (const [id, invocation] of serving) {
      if (!invocation.streams) continue;
      const error = { name: "Error", message: "the replica that sent it closes", stack: "" };
      host.send({ type: "error", id, error, code: "unavailable" }, "", []);
      left(id);
      invocation.cancel();
    }
    return serving.size === 0 ? undefined : new Promise((resolve) => (idle = resolve));
  }

  function answer(invocation, value) {
    const { id } = invocation;
    if (isMany(value)) return stream(invocation, value);
    if (!left(id)) return;
    try {
      send({ type: "reply", id }, invocation.oneWay ? undefined : value);
    } catch (error) {
      serving.set(id, invocation);
      thrown(invocation, error);
    }
  }

  function thrown(invocation, error) {
    if (!left(invocation.id)) return;
    if (invocation.oneWay) {
      complain(`${invocation.method}, called by ${invocation.from}, who wants no result,`, error);
      return host.send({ type: "reply", id: invocation.id }, "", []);
    }
    const message = { type: "error", id: invocation.id, error: host.describe(error) };
    if (error instanceof ServiceError && CODES.includes(error.code)) message.code = error.code;
    host.send(message, "", []);
  }

  // A generator, asynchronous or not, and anything else that is gone through asynchronously. A list is one value.
  const isMany = (value) =>
    typeof value === "object" &&
    value !== null &&
    (typeof value[Symbol.asyncIterator] === "function" || (typeof value.next === "function" && typeof value[Symbol.iterator] === "function"));

  async function stream(invocation, values) {
    const { id } = invocation;
    invocation.streams = true;
    const iterator = values[Symbol.asyncIterator]?.() ?? values[Symbol.iterator]();
    try {
      if (!invocation.cancelled) host.send({ type: "stream", id }, "", []);
      while (!invocation.cancelled) {
        const { done: over, value } = await host.run(invocation, () => iterator.next());
        if (over) break;
        while (invocation.credit === 0 && !invocation.cancelled) await new Promise((resolve) => (invocation.wake = resolve));
        if (invocation.cancelled) break;
        invocation.credit -= 1;
        send({ type: "item", id }, value);
      }
      if (left(id)) host.send({ type: "end", id }, "", []);
      else await iterator.return?.();
    } catch (error) {
      if (invocation.cancelled) complain(`${invocation.method}, called by ${invocation.from}, who wants no more,`, error);
      else thrown(invocation, error);
    }
  }

  // --- configuration and children ---

  const watchers = new Set();
  let watched;
  const config = {
    get: (name) => request({ type: "get-config", name: String(name) }),
    set: async (name, value) => {
      await request({ type: "set-config", name: String(name) }, value);
    },
    watch: async (watcher) => {
      watchers.add(watcher);
      watched ??= request({ type: "watch-config" });
      await watched;
      return () => watchers.delete(watcher);
    },
  };

  const children = {
    create: async (spec) => {
      const name = await request({ type: "create-child" }, spec);
      const close = async () => {
        await request({ type: "close-child", service: name });
      };
      return { name, service: services[name], close };
    },
  };

  // --- what comes in ---

  function answered(message, text, behind) {
    const entry = asked.get(message.id);
    if (entry === undefined) return;
    const { items } = entry;
    host.resume(entry.during);
    switch (message.type) {
      case "reply":
        if (items) return items.end();
        done(message.id);
        return entry.resolve(decode(text, behind));
      case "stream":
        entry.items = new Items(message.id);
        return entry.resolve(entry.items);
      case "item":
        return items?.hear(decode(text, behind));
      case "end":
        return items?.end();
      default: {
        const error = new ServiceError(message.error);
        if (items) return items.end(error);
        done(message.id);
        return entry.reject(error);
      }
    }
  }

  function hear(message, text, behind) {
    switch (message.type) {
      case "invoke":
        return invoke(message, text, behind);
      case "event":
        hearEvent(message, text, behind);
        return;
      case "cancel": {
        const invocation = serving.get(message.id);
        host.resume(invocation);
        left(message.id);
        return invocation?.cancel();
      }
      case "credit": {
        const invocation = serving.get(message.id);
        if (invocation === undefined) return;
        host.resume(invocation);
        invocation.credit += message.items;
        return invocation.wake?.();
      }
      case "config":
        for (const watcher of watchers) {
          Promise.resolve()
            .then(() => watcher(message.name, decode(text, behind)))
            .catch((error) => complain("a watcher of the configuration", error));
        }
        return;
      case "reply":
      case "stream":
      case "item":
      case "end":
      case "error":
        return answered(message, text, behind);
    }
  }

  return {
    // From now on these are called.
    serve(found) {
      methods = found;
    },
    hear,
    drain,
    api: {
      services,
      emit: (event, data) => request({ type: "emit", event: String(event) }, data),
      on,
      off,
      config,
      children,
      current: () => host.current(),
      ServiceError,
    },
  };
}
