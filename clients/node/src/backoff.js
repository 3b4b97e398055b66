// How long to wait before something is tried once more: longer each time, and never all at the same moment.
"use strict";

const FIRST = 50; // milliseconds
const LONGEST = 5000;

class Backoff {
  #turns = 0;
  #timer;
  #wake;

  wait() {
    const longest = Math.min(LONGEST, FIRST * 2 ** this.#turns);
    this.#turns = Math.min(this.#turns + 1, 20);
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#timer = setTimeout(resolve, longest * (0.5 + Math.random() / 2));
    });
  }

  reset() {
    this.#turns = 0;
  }

  // Nobody waits any more.
  stop() {
    clearTimeout(this.#timer);
    this.#wake?.();
  }
}

module.exports = { Backoff };
