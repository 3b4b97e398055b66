// The calls that a program makes: each has its slot before it is sent, a deadline, and exactly one end.
"use strict";

const { CallError, remoteError } = require("./errors.js");
const { encode, decode, tooLarge } = require("./values.js");
const { Deadlines } = require("./deadlines.js");
const { Items, through } = require("./streams.js");
const { serving: served } = require("./current.js");

const MOST_CALLS = 65_536;
const FIRST_PAUSE = 10; // milliseconds
const LONGEST_PAUSE = 1000;

class Call {
  constructor(service, method, options, oneWay, text, parts, resolve, reject) {
    this.service = service;
    this.method = method;
    this.options = options;
    this.oneWay = oneWay;
    this.text = text;
    this.parts = parts;
    this.resolve = resolve;
    this.reject = reject;
    this.retries = options.retries;
    this.deadline = 0;
    this.attemptUntil = Infinity;
    this.pausedUntil = Infinity;
    // Where it is under way: the member, what that one offers, its number there, the packet that it went in.
    this.peer = null;
    this.offered = null;
    this.id = 0;
    this.packet = 0;
    // The members that it was tried on in this round.
    this.tried = null;
    this.attempts = 0;
    this.rounds = 0;
    this.items = null;
    this.parent = null;
    this.abort = null;
    this.over = false;
    this.slot = -1;
    this.at = 0;
    this.next = null;
    this.previous = null;
  }
}

// link: { choose(service, method, options, tried)  { peer, offered } or { code, message }
//         sendCall(peer, call, remaining)          gives the number of the packet that it goes in
//         cancel(peer, id), credit(peer, id, items)
//         retriesElsewhere                         the other end does what `retries` and `attempt` ask for
//         grace }                                  how much later than the other end this one loses patience, in ms
// A peer has `calls`, those that are under way there by their number, and a `session`.
class Calls {
  constructor(link, counts) {
    this.link = link;
    this.counts = counts;
    let last = 0;
    this.number = () => ++last;
    this.underWay = 0;
    // Those that wait for somebody who offers what they need.
    this.parked = new Set();
    this.closed = undefined;
    this.deadlines = new Deadlines((call, now) => this.#late(call, now));
  }

  start(service, method, options, values, oneWay) {
    const made = new Promise((resolve, reject) => {
      const fail = (code, message) => reject(new CallError({ code, message, service, method }));
      if (this.closed !== undefined) return fail("unavailable", this.closed);
      if (this.underWay >= MOST_CALLS) return fail("overloaded", `this program has ${MOST_CALLS} calls under way, which is the most`);
      const payload = encode(values.length === 0 ? undefined : values);
      const why = tooLarge(payload);
      if (why !== undefined) return fail("too-large", why);
      const call = new Call(service, method, options, oneWay, payload.text, payload.parts, resolve, reject);
      const { signal } = options;
      if (signal?.aborted) return fail("cancelled", "it was not wanted any more");
      this.underWay += 1;
      if (signal !== undefined) {
        call.abort = () => this.cancel(call);
        signal.addEventListener("abort", call.abort);
      }
      const now = performance.now();
      call.deadline = now + options.timeout;
      const serving = served();
      if (serving !== undefined && !serving.oneWay) {
        if (serving.cancelled) return this.#fail(call, "cancelled", "what it was made for is not wanted any more");
        call.parent = serving;
        serving.nested ??= new Set();
        serving.nested.add(call);
        if (serving.until < call.deadline) call.deadline = serving.until;
      }
      this.#dispatch(call, now);
      if (!call.over && call.slot < 0) this.deadlines.set(call, this.#moment(call));
    });
    made[Symbol.asyncIterator] = through;
    return made;
  }

  // When it has to be looked at next.
  #moment(call) {
    return Math.min(call.deadline + this.link.grace, call.attemptUntil, call.pausedUntil);
  }

  #dispatch(call, now) {
    this.parked.delete(call);
    const wasPaused = call.pausedUntil !== Infinity;
    call.pausedUntil = Infinity;
    const { service, method, options } = call;
    const found = this.link.choose(service, method, options, call.tried);
    if (found.peer === undefined) {
      if (found.code !== "not-found" && (call.retries !== 0 || call.attempts > 0)) {
        // An attempt that is allowed waits for somebody who can have it.
        this.parked.add(call);
        if (wasPaused) this.deadlines.set(call, this.#moment(call));
        return;
      }
      return this.#fail(call, found.code, found.message);
    }
    const { peer, offered } = found;
    call.attempts += 1;
    call.peer = peer;
    call.offered = offered;
    call.id = this.number();
    offered.own += 1;
    peer.calls.set(call.id, call);
    const hasAttempt = options.attempt !== undefined && !this.link.retriesElsewhere;
    if (hasAttempt) call.attemptUntil = now + options.attempt;
    call.packet = this.link.sendCall(peer, call, Math.max(0, Math.round(call.deadline - now)));
    // The deadline itself stays in its place, whatever is tried.
    if (hasAttempt || wasPaused) this.deadlines.set(call, this.#moment(call));
  }

  // It is not under way anywhere any more.
  #leave(call) {
    if (call.peer === null) return;
    call.peer.calls.delete(call.id);
    call.offered.own -= 1;
    call.peer = null;
    call.offered = null;
  }

  // Takes a call out of everything. What comes of it is said by who has called this.
  #end(call) {
    call.over = true;
    this.#leave(call);
    this.deadlines.remove(call);
    this.parked.delete(call);
    this.underWay -= 1;
    if (call.abort !== null) call.options.signal.removeEventListener("abort", call.abort);
    if (call.parent !== null) call.parent.nested.delete(call);
    if (this.underWay === 0) this.idle?.();
  }

  #reject(call, error) {
    if (call.over) return;
    this.#end(call);
    if (call.items !== null) call.items.end(error);
    else call.reject(error);
  }

  #fail(call, code, message) {
    this.#reject(call, new CallError({ code, message, service: call.service, method: call.method }));
  }

  // Tells the member that the result is not wanted any more.
  #withdraw(call) {
    if (call.peer !== null) this.link.cancel(call.peer, call.id);
  }

  cancel(call, message = "it was not wanted any more") {
    if (call.over) return;
    this.#withdraw(call);
    this.#fail(call, "cancelled", message);
  }

  // An attempt has brought nothing. It is made again if `retries` says so: on a member that has not been tried in this
  // round; and when all have been, all of them again after a pause.
  #again(call, error) {
    const { peer } = call;
    this.#leave(call);
    call.attemptUntil = Infinity;
    if (call.retries === 0 || call.items !== null) return this.#reject(call, error);
    if (call.retries > 0) call.retries -= 1;
    this.#next(call, peer);
  }

  // The next member's turn.
  #next(call, peer) {
    (call.tried ??= new Set()).add(peer.session);
    const now = performance.now();
    const untried = this.link.choose(call.service, call.method, call.options, call.tried, true);
    if (untried.peer === undefined && untried.exhausted) {
      call.tried = null;
      call.rounds += 1;
      const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(call.rounds, 10));
      call.pausedUntil = now + pause * (0.5 + Math.random() / 2);
      this.parked.add(call);
      return this.deadlines.set(call, this.#moment(call));
    }
    if (call.slot < 0) this.deadlines.set(call, this.#moment(call));
    this.#dispatch(call, now);
  }

  // It has not run there. The others are asked at once, each of them once.
  #notRun(call, error) {
    const { peer } = call;
    const untried = (call.tried ?? new Set()).add(peer.session);
    call.tried = untried;
    const found = this.link.choose(call.service, call.method, call.options, untried, true);
    if (found.peer === undefined) {
      const again = error.code === "unavailable" || error.code === "overloaded";
      if (again) return this.#again(call, error);
      this.#leave(call);
      return this.#reject(call, error);
    }
    this.#leave(call);
    call.attemptUntil = Infinity;
    this.#dispatch(call, performance.now());
  }

  #late(call, now) {
    if (call.deadline + this.link.grace <= now) {
      this.#withdraw(call);
      return this.#fail(call, "timeout", "there was no answer in time");
    }
    if (call.attemptUntil <= now) {
      this.#withdraw(call);
      const { service, method } = call;
      this.#again(call, new CallError({ code: "timeout", message: "no attempt was answered in time", service, method }));
    } else if (call.pausedUntil <= now) {
      this.#dispatch(call, now);
    }
    if (!call.over && call.slot < 0) this.deadlines.set(call, this.#moment(call));
  }

  // Somebody offers something new: that may be what is waited for.
  wake() {
    if (this.parked.size === 0) return;
    const now = performance.now();
    for (const call of [...this.parked]) if (!call.over) this.#dispatch(call, now);
  }

  // A member is gone. The packets from `unheard` on have not reached it.
  lost(peer, message, unheard = Infinity) {
    for (const call of [...peer.calls.values()]) {
      if (call.over || call.peer !== peer) continue;
      const { service, method } = call;
      const error = new CallError({ code: "unavailable", message, service, method });
      if (call.packet >= unheard && call.items === null) this.#notRun(call, error);
      else this.#again(call, error);
    }
  }

  // Everything ends, and nothing begins any more.
  stop(message, peers) {
    this.closed = message;
    for (const call of [...this.parked]) this.cancel(call, message);
    for (const peer of peers) for (const call of [...peer.calls.values()]) this.cancel(call, message);
    this.deadlines.stop();
  }

  // What a member answers.
  heard(peer, message, payload) {
    const call = peer.calls.get(message.id);
    if (call === undefined) {
      this.counts.late += 1;
      return;
    }
    switch (message.type) {
      case "reply": {
        const value = this.#value(call, message, payload);
        if (call.over) return;
        this.#end(call);
        if (call.items !== null) call.items.end();
        else call.resolve(call.oneWay ? undefined : value);
        return;
      }
      case "stream":
        if (call.items !== null || call.oneWay) return;
        call.items = new Items(
          (items) => call.peer !== null && this.link.credit(call.peer, call.id, items),
          () => {
            this.#withdraw(call);
            this.#end(call);
          },
        );
        call.attemptUntil = Infinity;
        // A stream has no end that could be waited for, unless somebody has said how long.
        if (!call.options.timed) call.deadline = Infinity;
        this.deadlines.set(call, this.#moment(call));
        return call.resolve(call.items);
      case "item": {
        if (call.items === null) return;
        const value = this.#value(call, message, payload);
        if (call.over) return;
        if (!call.items.hear(value)) {
          this.#withdraw(call);
          this.#fail(call, "overloaded", "it has sent more than it was given credit for");
        }
        return;
      }
      case "end":
        if (call.items === null) return;
        this.#end(call);
        return call.items.end();
      default: {
        const error = remoteError(message.error, call.service, call.method);
        if (message.not_run === true && call.items === null) return this.#notRun(call, error);
        const again = error.code === "unavailable" || error.code === "overloaded";
        if (again && !this.link.retriesElsewhere) return this.#again(call, error);
        return this.#reject(call, error);
      }
    }
  }

  #value(call, message, payload) {
    try {
      return decode(payload, message.json);
    } catch (error) {
      this.#withdraw(call);
      this.#fail(call, "service-error", `its answer cannot be read: ${error.message}`);
      return undefined;
    }
  }
}

module.exports = { Calls };
