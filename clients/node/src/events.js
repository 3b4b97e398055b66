// Who listens to which events in this program.
"use strict";

const { CallError, misuse } = require("./errors.js");
const { decode } = require("./values.js");

const MOST_SUBSCRIPTIONS = 1024;
const MOST_UNDER_WAY = 16_384;

const covers = (pattern, event) =>
  pattern.endsWith("*") ? event.length >= pattern.length && event.startsWith(pattern.slice(0, -1)) : pattern === event;

class Listeners {
  constructor(complain, counts) {
    this.complain = complain;
    this.counts = counts;
    // By pattern and group.
    this.subscriptions = new Map();
    this.underWay = 0;
  }

  // Gives { added, remove() }, where `added` is the subscription if it is a new one, and `remove` gives it back when it was
  // the last handler's.
  add(pattern, group, handler) {
    if (typeof handler !== "function") throw misuse("on(event, handler): the handler is no function");
    const key = JSON.stringify([pattern, group ?? null]);
    let subscription = this.subscriptions.get(key);
    const isNew = subscription === undefined;
    if (isNew) {
      if (this.subscriptions.size >= MOST_SUBSCRIPTIONS) {
        throw new CallError({ code: "overloaded", message: `this program listens to ${MOST_SUBSCRIPTIONS} patterns already` });
      }
      subscription = { pattern, group, handlers: new Set() };
      this.subscriptions.set(key, subscription);
    }
    // The same function twice is heard twice, and taken away one by one.
    const entry = { handler };
    subscription.handlers.add(entry);
    const remove = () => {
      if (!subscription.handlers.delete(entry) || subscription.handlers.size > 0) return undefined;
      this.subscriptions.delete(key);
      return subscription;
    };
    return { subscription, isNew, remove };
  }

  // An event has come; `told` is called when all who listen have dealt with it.
  hear(event, from, all, groups, payload, json, told) {
    if (this.underWay >= MOST_UNDER_WAY) {
      this.counts.lost += 1;
      return told?.();
    }
    const about = { event, from };
    const waiting = [];
    for (const { pattern, group, handlers } of this.subscriptions.values()) {
      if (!covers(pattern, event) || !(group === undefined ? all : groups.includes(group))) continue;
      for (const { handler } of handlers) {
        try {
          // Each has a value of its own: what one changes in it is no other's.
          const result = handler(decode(payload, json), about);
          if (typeof result?.then === "function") waiting.push(result);
        } catch (error) {
          this.complain(`a handler of ${event}`, error);
        }
      }
    }
    if (waiting.length === 0) return told?.();
    this.underWay += 1;
    Promise.allSettled(waiting).then((results) => {
      this.underWay -= 1;
      for (const { status, reason } of results) if (status === "rejected") this.complain(`a handler of ${event}`, reason);
      told?.();
    });
  }
}

module.exports = { Listeners, covers };
