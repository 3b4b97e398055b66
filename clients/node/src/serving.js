// The services that this program offers, and the calls of them that are under way here.
"use strict";

const { CODES, CallError, describe, misuse } = require("./errors.js");
const { encode, decode, tooLarge } = require("./values.js");
const { Invocation, store } = require("./current.js");
const { WINDOW, isMany } = require("./streams.js");

const DEPTH = 8;
const MOST_CREDIT = 1 << 16;
const MOST_METHODS = 4096;

const isClass = (value) => /^class\b/.test(Function.prototype.toString.call(value));

// The names below an object that can be called, with what they are called on: functions and getters of its own, and of what
// it is an instance of.
function members(object) {
  const found = new Map();
  for (let layer = object; layer !== null && layer !== Object.prototype; layer = Object.getPrototypeOf(layer)) {
    for (const [key, { value, get, enumerable }] of Object.entries(Object.getOwnPropertyDescriptors(layer))) {
      const shown = layer === object ? enumerable : key !== "constructor" && !key.startsWith("_");
      if (shown && !found.has(key)) found.set(key, get ? { get } : { value });
    }
  }
  return found;
}

// Whether functions below it are methods: not a list, a map, or anything else of the language's own.
function isNamespace(value) {
  if (typeof value !== "object" || value === null || Array.isArray(value) || ArrayBuffer.isView(value)) return false;
  const prototype = Object.getPrototypeOf(value);
  if (prototype === null || prototype === Object.prototype) return true;
  const maker = prototype.constructor;
  return typeof maker === "function" && !/\[native code\]/.test(Function.prototype.toString.call(maker)) && !(value instanceof Error);
}

function collect(methods, name, { value, get }, owner, depth) {
  if (get) {
    methods.set(name, () => get.call(owner));
  } else if (typeof value === "function") {
    if (!isClass(value)) methods.set(name, (...values) => value.apply(owner, values));
  } else if (depth > 0 && isNamespace(value)) {
    for (const [key, member] of members(value)) collect(methods, `${name}.${key}`, member, value, depth - 1);
  }
}

// The methods of an object, nested ones with dots in their name.
function methodsOf(object, what) {
  const methods = new Map();
  if (isNamespace(object)) for (const [key, member] of members(object)) collect(methods, key, member, object, DEPTH);
  if (methods.size === 0) throw misuse(`${what} is an object with functions, such as { async get(id) { ... } }`);
  if (methods.size > MOST_METHODS) throw misuse(`${what} has ${methods.size} methods; there can be ${MOST_METHODS}`);
  for (const name of methods.keys()) {
    if (Buffer.byteLength(name) > 256) throw misuse(`${what}: a method's name has at most 256 bytes, not as ${name.slice(0, 40)}...`);
  }
  return methods;
}

// link: { answer(peer, id, type, text, parts)      reply, stream, item or end
//         fail(peer, invocation, error, notRun)    error: { code, message, name, stack }
//         wholeOneWay }                            a call without a result is answered when it is done, not when it begins
// A peer has `served`, what is served for it by the number that it has given.
class Serving {
  constructor(link, complain) {
    this.link = link;
    this.complain = complain;
    this.services = new Map();
    this.underWay = 0;
  }

  add(name, object, maxInFlight) {
    if (this.services.has(name)) throw misuse(`the service '${name}' is registered already: close() that one first`);
    const methods = methodsOf(object, `the service '${name}'`);
    const service = { name, methods, maxInFlight, running: 0, wanted: 0, closing: false, streams: new Set(), idle: undefined };
    this.services.set(name, service);
    return service;
  }

  // Calls of it are refused from now on; what is under way is finished, but for streams, which need not have an end.
  async drain(service) {
    service.closing = true;
    for (const invocation of [...service.streams]) {
      const error = { code: "unavailable", message: "who sends it closes", name: "", stack: "" };
      if (this.#left(invocation)) this.link.fail(invocation.peer, invocation, error);
      this.#cancel(invocation);
    }
    if (service.wanted > 0) await new Promise((resolve) => (service.idle = resolve));
    if (this.services.get(service.name) === service) this.services.delete(service.name);
  }

  // Somebody calls a method.
  invoke(peer, message, payload, from, oneWay) {
    const { id, service: name, method: called } = message;
    // Nobody could tell to what the answer belongs.
    if (!Number.isSafeInteger(id) || peer.served.has(id)) return;
    const service = this.services.get(name);
    const timeout = message.timeout >= 0 ? message.timeout : Infinity;
    const invocation = new Invocation(peer, id, service, called, from, timeout, oneWay);
    const refuse = (code, text) => this.link.fail(peer, invocation, { code, message: text, name: "", stack: "" }, true);
    if (service === undefined) return refuse("unavailable", `'${name}' is not offered here any more`);
    const method = service.methods.get(called);
    if (method === undefined) return refuse("not-found", `there is no method '${called}'`);
    if (service.closing) return refuse("unavailable", `${name} closes`);
    if (service.running >= service.maxInFlight) return refuse("overloaded", `${name} has as many calls under way as it takes`);
    let values;
    try {
      values = decode(payload, message.json) ?? [];
      if (!Array.isArray(values)) throw new TypeError("arguments are a list");
    } catch (error) {
      return refuse("service-error", `the arguments cannot be read: ${error.message}`);
    }
    service.running += 1;
    service.wanted += 1;
    if (!oneWay || this.link.wholeOneWay) peer.served.set(id, invocation);
    if (oneWay && !this.link.wholeOneWay) this.link.answer(peer, id, "reply", "", []);
    let result;
    try {
      result = store.run(invocation, method, ...values);
    } catch (error) {
      return this.#thrown(invocation, error);
    }
    if (typeof result?.then === "function") {
      result.then(
        (value) => this.#answer(invocation, value),
        (error) => this.#thrown(invocation, error),
      );
    } else {
      this.#answer(invocation, result);
    }
  }

  // It has ended, and makes room for another one.
  #release(invocation) {
    if (!invocation.counted) return;
    invocation.counted = false;
    const { service } = invocation;
    service.running -= 1;
    service.streams.delete(invocation);
    this.#unwanted(invocation);
  }

  // Nobody waits for it any more, so the end of the service does not either.
  #unwanted(invocation) {
    if (!invocation.wanted) return;
    invocation.wanted = false;
    const { service } = invocation;
    service.wanted -= 1;
    if (service.wanted === 0) service.idle?.();
  }

  // Whether its result is still wanted; from now on it is not.
  #left(invocation) {
    return invocation.peer.served.get(invocation.id) === invocation && invocation.peer.served.delete(invocation.id);
  }

  #answer(invocation, value) {
    if (isMany(value)) return this.#stream(invocation, value);
    const { peer, id, oneWay } = invocation;
    let payload;
    try {
      payload = encode(oneWay ? undefined : value);
      const why = tooLarge(payload);
      if (why !== undefined) throw new CallError({ code: "too-large", message: `its answer: ${why}` });
    } catch (error) {
      return this.#thrown(invocation, error);
    }
    this.#release(invocation);
    if (this.#left(invocation)) this.link.answer(peer, id, "reply", payload.text, payload.parts);
  }

  #thrown(invocation, error) {
    this.#release(invocation);
    const { peer, id, service, method, from, oneWay } = invocation;
    if (oneWay) {
      this.complain(`${service.name}.${method}, called by ${from}, who wants no result`, error);
      if (this.#left(invocation)) this.link.answer(peer, id, "reply", "", []);
      return;
    }
    if (!this.#left(invocation)) return;
    const code = error instanceof CallError && CODES.includes(error.code) ? error.code : "service-error";
    this.link.fail(peer, invocation, { code, ...describe(error) });
  }

  async #stream(invocation, values) {
    const { peer, id, service } = invocation;
    invocation.streams = true;
    // How long it may take is not said of a stream, unless its caller cancels it.
    invocation.until = Infinity;
    invocation.credit = WINDOW;
    service.streams.add(invocation);
    if (service.closing) {
      const error = { code: "unavailable", message: "who sends it closes", name: "", stack: "" };
      if (this.#left(invocation)) this.link.fail(peer, invocation, error);
      invocation.cancelled = true;
    }
    let iterator;
    try {
      iterator = values[Symbol.asyncIterator]?.() ?? values[Symbol.iterator]();
      if (!invocation.cancelled && !invocation.oneWay) this.link.answer(peer, id, "stream", "", []);
      while (!invocation.cancelled) {
        const { done, value } = await store.run(invocation, () => iterator.next());
        if (done) break;
        if (invocation.oneWay) continue;
        while (invocation.credit === 0 && !invocation.cancelled) await new Promise((resolve) => (invocation.wake = resolve));
        if (invocation.cancelled) break;
        const item = encode(value);
        const why = tooLarge(item);
        if (why !== undefined) throw new CallError({ code: "too-large", message: `an item: ${why}` });
        invocation.credit -= 1;
        this.link.answer(peer, id, "item", item.text, item.parts);
      }
      this.#release(invocation);
      if (invocation.cancelled) await iterator.return?.();
      else if (this.#left(invocation)) this.link.answer(peer, id, invocation.oneWay ? "reply" : "end", "", []);
    } catch (error) {
      if (!invocation.cancelled) Promise.resolve(iterator?.return?.()).catch(() => {});
      if (invocation.cancelled) this.complain(`${service.name}.${invocation.method}, called by ${invocation.from}, who wants no more`, error);
      this.#thrown(invocation, error);
    }
  }

  // Its result is not wanted any more.
  #cancel(invocation) {
    invocation.cancelled = true;
    // A stream is left at once; anything else counts until it has really ended.
    if (invocation.streams) this.#release(invocation);
    else this.#unwanted(invocation);
    invocation.controller?.abort();
    invocation.wake?.();
    if (invocation.nested !== undefined) {
      for (const call of [...invocation.nested]) this.cancelNested(call);
    }
  }

  cancelled(peer, id) {
    const invocation = peer.served.get(id);
    if (invocation === undefined || invocation.oneWay) return;
    peer.served.delete(id);
    this.#cancel(invocation);
  }

  credit(peer, id, items) {
    const invocation = peer.served.get(id);
    if (invocation === undefined || !(items > 0)) return;
    invocation.credit = Math.min(invocation.credit + items, MOST_CREDIT);
    invocation.wake?.();
  }

  // A caller is gone.
  lost(peer) {
    for (const id of [...peer.served.keys()]) this.cancelled(peer, id);
    peer.served.clear();
  }
}

module.exports = { Serving };
