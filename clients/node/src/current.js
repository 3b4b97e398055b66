// During a call of a service that this program offers: who has made it, and how long it may take.
"use strict";

const { AsyncLocalStorage } = require("node:async_hooks");

const store = new AsyncLocalStorage();

class Invocation {
  constructor(peer, id, service, method, from, timeout, oneWay) {
    this.peer = peer;
    this.id = id;
    this.service = service;
    this.method = method;
    this.from = from;
    this.until = performance.now() + timeout;
    this.oneWay = oneWay;
    this.credit = 0;
    this.cancelled = false;
    this.streams = false;
    this.counted = true;
    this.wanted = true;
    this.nested = undefined;
    this.controller = undefined;
    this.wake = undefined;
  }

  // When its caller has no more time, as Date.now() says it.
  get deadline() {
    return Date.now() + (this.until - performance.now());
  }

  // Aborted when the result is not wanted any more.
  get signal() {
    this.controller ??= new AbortController();
    if (this.cancelled) this.controller.abort();
    return this.controller.signal;
  }
}

// What a method may know of it.
class Shown {
  #invocation;

  constructor(invocation) {
    this.#invocation = invocation;
  }

  get from() {
    return this.#invocation.from;
  }

  get service() {
    return this.#invocation.service.name;
  }

  get method() {
    return this.#invocation.method;
  }

  get deadline() {
    return this.#invocation.deadline;
  }

  get signal() {
    return this.#invocation.signal;
  }
}

const serving = () => store.getStore();

function current() {
  const invocation = serving();
  return invocation && new Shown(invocation);
}

module.exports = { Invocation, store, serving, current };
