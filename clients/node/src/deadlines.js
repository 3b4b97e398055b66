// When each of many calls has to be looked at: a wheel of lists, with one timer for all of them.
"use strict";

const SLOT = 8; // milliseconds
const SLOTS = 1024;
const LONGEST_DELAY = 1 << 30;

// An entry is any object with `at`, `slot` (-1), `next` and `previous`; it is in one list at most.
class Deadlines {
  constructor(late) {
    this.late = late;
    this.slots = new Array(SLOTS).fill(null);
    this.entries = 0;
    this.done = 0;
    this.wakes = Infinity;
    this.timer = undefined;
  }

  set(entry, at) {
    if (entry.slot >= 0) this.remove(entry);
    if (at === Infinity) return;
    if (this.entries === 0) this.done = Math.floor(performance.now() / SLOT);
    const turn = Math.max(Math.ceil(at / SLOT), this.done + 1);
    const slot = turn % SLOTS;
    const head = this.slots[slot];
    entry.at = at;
    entry.slot = slot;
    entry.previous = null;
    entry.next = head;
    if (head !== null) head.previous = entry;
    this.slots[slot] = entry;
    this.entries += 1;
    if (turn < this.wakes) this.#arm(turn);
  }

  remove(entry) {
    if (entry.slot < 0) return;
    if (entry.previous === null) this.slots[entry.slot] = entry.next;
    else entry.previous.next = entry.next;
    if (entry.next !== null) entry.next.previous = entry.previous;
    entry.slot = -1;
    entry.next = entry.previous = null;
    this.entries -= 1;
  }

  // No timer is left; what is still there is not looked at any more.
  stop() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.wakes = -Infinity;
  }

  #arm(turn) {
    this.wakes = turn;
    clearTimeout(this.timer);
    const delay = Math.ceil(turn * SLOT - performance.now()) + 1;
    this.timer = setTimeout(() => this.#wake(), Math.min(Math.max(delay, 1), LONGEST_DELAY));
  }

  #wake() {
    this.wakes = Infinity;
    const now = performance.now();
    const until = Math.floor(now / SLOT);
    const late = [];
    for (let turn = Math.max(this.done + 1, until - SLOTS + 1); turn <= until; turn += 1) {
      for (let entry = this.slots[turn % SLOTS]; entry !== null; entry = entry.next) if (entry.at <= now) late.push(entry);
    }
    this.done = until;
    for (const entry of late) {
      // What was done for one may have removed another.
      if (entry.slot < 0) continue;
      this.remove(entry);
      this.late(entry, now);
    }
    if (this.entries === 0 || this.wakes !== Infinity) return;
    // A slot that is not empty may hold only what comes a turn of the wheel later: then it was looked at for nothing.
    for (let turn = this.done + 1; turn <= this.done + SLOTS; turn += 1) {
      if (this.slots[turn % SLOTS] !== null) return this.#arm(turn);
    }
  }
}

module.exports = { Deadlines };
