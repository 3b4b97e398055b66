// Reads what Redis answers (RESP2), in whatever pieces it comes.
"use strict";

// What a packet or a value may have, and some more. Redis itself has at most 512 MiB in one of them.
const LONGEST = 18 * 1024 * 1024;
const LONGEST_OF_ALL = 512 * 1024 * 1024;
const MOST_IN_LIST = 65_536;
const LONGEST_LINE = 8192;
const CR = 13;
const LF = 10;
const MINUS = 45;

// An answer that is an error. With `final`, another attempt would bring the same.
class RedisError extends Error {
  constructor(message, final = false) {
    super(message);
    this.name = "RedisError";
    this.final = final;
  }
}

const nonsense = () => new RedisError("what answers there does not speak as Redis does", true);

// An answer is a number, a text (of a status), bytes, null, a RedisError, or a list of those without lists in it. Bytes that
// are longer than anything of a fabric are passed over, and a RedisError stands for them.
class Replies {
  // `tell(reply)` gets each of them. Bytes are those of `chunk`, so that they hold only until it returns. It may call `stop`.
  constructor(tell) {
    this.tell = tell;
    this.stopped = false;
    // The list that is being read, how many are missing in it, and how many in it have bytes of their own.
    this.list = null;
    this.missing = 0;
    this.kept = 0;
    // The beginning of what has not all come, how much of that there is, and how much of it is needed.
    this.rest = null;
    this.filled = 0;
    this.needed = 0;
    // So many bytes are still to be passed over.
    this.passing = 0;
    this.value = undefined;
  }

  stop() {
    this.stopped = true;
    this.rest = this.list = null;
  }

  // Throws a RedisError where it is none of this.
  read(chunk) {
    let bytes = chunk;
    if (this.filled > 0) {
      bytes = this.#whole(chunk);
      if (bytes.length < this.needed) return;
      this.rest = null;
      this.filled = 0;
    }
    let at = 0;
    while (at < bytes.length && !this.stopped) {
      const end = this.passing > 0 ? this.#pass(bytes, at) : this.#next(bytes, at);
      if (end < 0) {
        this.#keep(bytes, at);
        break;
      }
      at = end;
      if (this.value !== undefined) this.#found(this.value);
    }
    this.#own();
  }

  // The rest from before with this behind it.
  #whole(chunk) {
    const length = this.filled + chunk.length;
    if (length > this.rest.length) {
      const rest = Buffer.allocUnsafe(Math.max(length, this.needed));
      this.rest.copy(rest, 0, 0, this.filled);
      this.rest = rest;
    }
    chunk.copy(this.rest, this.filled);
    this.filled = length;
    return this.rest.subarray(0, length);
  }

  #keep(bytes, at) {
    this.filled = bytes.length - at;
    this.rest = Buffer.allocUnsafe(Math.max(this.filled, this.needed));
    bytes.copy(this.rest, 0, at);
  }

  // What is in a list that has not all come must outlive the chunk.
  #own() {
    if (this.list === null) return;
    for (; this.kept < this.list.length; this.kept += 1) {
      const value = this.list[this.kept];
      if (typeof value === "object" && value !== null && !(value instanceof RedisError)) this.list[this.kept] = Buffer.from(value);
    }
  }

  #found(value) {
    if (this.list === null) return this.tell(value);
    this.list.push(value);
    this.missing -= 1;
    if (this.missing > 0) return;
    const { list } = this;
    this.list = null;
    this.tell(list);
  }

  // Leaves in `value` what begins there, and gives its end; -1 where it has not all come. Where a list begins, or something is
  // to be passed over, there is no value yet.
  #next(bytes, at) {
    const kind = bytes[at];
    this.needed = 0;
    this.value = undefined;
    switch (kind) {
      case 58: // ":", a number
        return this.#number(bytes, at + 1);
      case 36: // "$", bytes
        return this.#bytes(bytes, at + 1);
      case 42: // "*", a list
        return this.#begin(bytes, at + 1);
      case 43: // "+", a status
      case 45: // "-", an error
        return this.#line(bytes, at + 1, kind === MINUS);
      default:
        throw nonsense();
    }
  }

  #number(bytes, at) {
    const isNegative = bytes[at] === MINUS;
    let place = isNegative ? at + 1 : at;
    const first = place;
    let number = 0;
    for (; place < bytes.length; place += 1) {
      const digit = bytes[place] - 48;
      if (digit < 0 || digit > 9) break;
      number = number * 10 + digit;
    }
    if (place - first > 15) throw nonsense();
    if (place < bytes.length && (place === first || bytes[place] !== CR)) throw nonsense();
    if (place + 1 >= bytes.length) return -1;
    if (bytes[place + 1] !== LF) throw nonsense();
    this.value = isNegative ? -number : number;
    return place + 2;
  }

  #bytes(bytes, at) {
    const begin = this.#number(bytes, at);
    if (begin < 0) return -1;
    const length = this.value;
    if (length === -1) {
      this.value = null;
      return begin;
    }
    if (length < 0 || length > LONGEST_OF_ALL) throw nonsense();
    const end = begin + length;
    if (length > LONGEST) {
      this.value = undefined;
      this.passing = length + 2;
      return begin;
    }
    if (end + 2 > bytes.length) {
      this.needed = end + 2 - (at - 1);
      return -1;
    }
    if (bytes[end] !== CR || bytes[end + 1] !== LF) throw nonsense();
    this.value = bytes.subarray(begin, end);
    return end + 2;
  }

  #pass(bytes, at) {
    const passed = Math.min(this.passing, bytes.length - at);
    this.passing -= passed;
    this.value = this.passing > 0 ? undefined : new RedisError(`more than ${LONGEST} bytes are too many`);
    return at + passed;
  }

  #begin(bytes, at) {
    const end = this.#number(bytes, at);
    if (end < 0) return -1;
    const length = this.value;
    if (this.list !== null || length < -1 || length > MOST_IN_LIST) throw nonsense();
    this.value = undefined;
    if (length === -1) this.value = null;
    else if (length === 0) this.value = [];
    else {
      this.list = [];
      this.missing = length;
      this.kept = 0;
    }
    return end;
  }

  #line(bytes, at, isError) {
    const end = bytes.indexOf(LF, at);
    if ((end < 0 ? bytes.length : end) - at > LONGEST_LINE) throw nonsense();
    if (end < 0) return -1;
    if (bytes[end - 1] !== CR) throw nonsense();
    const text = bytes.utf8Slice(at, end - 1);
    this.value = isError ? new RedisError(text) : text;
    return end + 1;
  }
}

module.exports = { Replies, RedisError };
