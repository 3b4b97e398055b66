// A stream that answers a call, for the one who goes through it.
"use strict";

const WINDOW = 8;

// `taken(items)` gives credit for further ones, `left()` tells that no more are wanted.
class Items {
  constructor(taken, left) {
    this.taken = taken;
    this.left = left;
    this.items = [];
    this.waiting = [];
    this.untold = 0;
    this.room = WINDOW;
    this.over = false;
    this.error = undefined;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  // Another item has come. False where it was not asked for.
  hear(item) {
    if (this.over) return true;
    if (this.room === 0) return false;
    this.room -= 1;
    const waiter = this.waiting.shift();
    if (waiter) waiter.resolve(this.#take(item));
    else this.items.push(item);
    return true;
  }

  end(error) {
    if (this.over) return;
    this.over = true;
    for (const { resolve, reject } of this.waiting.splice(0)) {
      if (error) reject(error);
      else resolve({ done: true, value: undefined });
      error = undefined;
    }
    this.error = error;
  }

  #take(value) {
    this.untold += 1;
    if (this.untold >= WINDOW / 2 && !this.over) {
      this.room += this.untold;
      this.taken(this.untold);
      this.untold = 0;
    }
    return { done: false, value };
  }

  async next() {
    if (this.items.length > 0) return this.#take(this.items.shift());
    if (this.over) {
      const { error } = this;
      this.error = undefined;
      if (error) throw error;
      return { done: true, value: undefined };
    }
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  async return(value) {
    if (!this.over) {
      this.left();
      this.end();
    }
    this.items = [];
    this.error = undefined;
    return { done: true, value };
  }
}

// A generator, asynchronous or not, and anything else that is gone through asynchronously. A list is one value.
const isMany = (value) =>
  typeof value === "object" &&
  value !== null &&
  (typeof value[Symbol.asyncIterator] === "function" || (typeof value.next === "function" && typeof value[Symbol.iterator] === "function"));

// Goes through what a promise brings, if that is a stream: so `for await` needs no `await` of its own.
async function* through() {
  const result = await this;
  if (typeof result?.[Symbol.asyncIterator] !== "function") throw new TypeError("the result is no stream: await it");
  yield* result;
}

module.exports = { Items, WINDOW, isMany, through };
