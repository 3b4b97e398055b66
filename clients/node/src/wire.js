// One connection to Redis. It neither queues nor sends again nor connects again: what is lost ends the session.
"use strict";

const net = require("node:net");
const { Replies, RedisError } = require("./replies.js");

const READ_AT_ONCE = 64 * 1024;
const MESSAGE = 7;
// What Redis may say of a state that passes.
const PASSES = /^(LOADING|BUSY|MASTERDOWN|TRYAGAIN|ERR max number of clients)/;
const NOT_LET_IN = /^(NOAUTH|WRONGPASS|ERR AUTH|ERR invalid password)/;

// Redis writes last to the one for whom it has had something to write for longest. So where a PING comes before a PUBLISH, a
// packet is on its way to its receiver before its sender is told how many have heard it, and not after that.
const PING = "*1\r\n$4\r\nPING\r\n";

// A command as it travels, of texts and bytes.
function command(parts) {
  const chunks = [Buffer.from(`*${parts.length}\r\n`)];
  for (const part of parts) {
    const bytes = Buffer.from(part);
    chunks.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from("\r\n"));
  }
  return Buffer.concat(chunks);
}

// Bytes of an answer hold only while it is told: this is what holds on.
function owned(reply) {
  if (Array.isArray(reply)) return reply.map(owned);
  return Buffer.isBuffer(reply) ? Buffer.from(reply) : reply;
}

// What went wrong, in one line.
function inWords(error) {
  if (error instanceof RedisError) {
    const isKept = NOT_LET_IN.test(error.message);
    const message = isKept ? `Redis does not accept this user and password (${error.message})` : error.message;
    return new RedisError(message, error.final || !PASSES.test(error.message));
  }
  const { code = "" } = error;
  const [first = error] = error.errors ?? [];
  if (code === "ECONNREFUSED") return Object.assign(new Error("nothing listens there (ECONNREFUSED)"), { code });
  const isTls = code.startsWith("ERR_TLS") || code.startsWith("ERR_SSL") || code.startsWith("ERR_OSSL") || code === "EPROTO" || /CERT|SIGNATURE|ISSUER|CRL/.test(code);
  if (isTls) return Object.assign(new RedisError(`there is no TLS with it: ${first.message.split("\n")[0]} (${code})`, true), { code });
  return first;
}

// told: { heard(channel, packet)   what is published; without it, nothing can be subscribed to. Bytes that hold only for now;
//                                  in place of a packet that is far too long there is a RedisError
//         ended(error) }           it was lost
class Wire {
  constructor({ host, port, db, username, password, tls }, told) {
    this.told = told;
    this.over = false;
    // Who waits for an answer, each with the next one.
    this.oldest = null;
    this.newest = null;
    this.replies = new Replies((reply) => this.#tell(reply));
    this.mayPing = false;
    this.first = [];
    if (password !== undefined) this.first.push(username === undefined ? ["AUTH", password] : ["AUTH", username, password]);
    if (db !== 0 && told.heard === undefined) this.first.push(["SELECT", String(db)]);
    // Everything is read into the same buffer: nothing is made for each time that something comes.
    const onread = { buffer: Buffer.allocUnsafeSlow(READ_AT_ONCE), callback: (length, buffer) => this.#read(length, buffer) };
    this.connect = () => {
      if (tls === undefined) return net.connect({ host, port, onread });
      return require("node:tls").connect({ host, port, servername: net.isIP(host) ? undefined : host, ...tls, onread });
    };
    this.isReady = tls === undefined ? "connect" : "secureConnect";
  }

  // Connects, and is let in.
  async open() {
    await new Promise((resolve, reject) => {
      this.socket = this.connect();
      this.failed = reject;
      this.socket.setNoDelay(true);
      this.socket.setKeepAlive(true, 60_000);
      this.socket.on("error", (error) => this.#lost(error));
      this.socket.on("close", () => this.#lost(new Error("the connection to Redis was lost")));
      this.socket.once(this.isReady, resolve);
      this.closed = new Promise((closed) => this.socket.once("close", closed));
    }).catch((error) => {
      throw inWords(error);
    });
    const asked = this.first.map((parts) => this.command(...parts));
    if (this.told.heard === undefined) asked.push(this.#tryPing());
    await Promise.all(asked);
    this.failed = undefined;
  }

  // There are users who are not allowed to do that, and servers without it.
  async #tryPing() {
    try {
      this.mayPing = (await this.command("PING")) === "PONG";
    } catch (error) {
      if (!/^(NOPERM|ERR unknown command)/.test(error.message)) throw error;
    }
  }

  // What has to be in front of a command that publishes.
  get preface() {
    return this.mayPing && this.oldest === null ? PING : "";
  }

  // A command. Its answer, which is nothing that Redis refuses, outlives this.
  command(...parts) {
    return new Promise((resolve, reject) => {
      const answered = (reply) => (reply instanceof Error ? reject(reply) : resolve(owned(reply)));
      if (this.over) answered(new Error("the connection to Redis was lost"));
      else this.send(command(parts), answered);
    });
  }

  // The bytes of a command. `answered(reply)` is called once, and gets an Error where there will be no answer. `pings` says
  // that the preface is in front of it.
  send(bytes, answered, pings = false) {
    const waits = { answered, pings, next: null };
    if (this.oldest === null) this.oldest = waits;
    else this.newest.next = waits;
    this.newest = waits;
    this.socket.write(bytes);
  }

  #read(length, buffer) {
    if (this.over) return false;
    try {
      this.replies.read(buffer.subarray(0, length));
    } catch (error) {
      if (!(error instanceof RedisError)) throw error;
      this.#lost(error);
    }
    return true;
  }

  #tell(reply) {
    const { heard } = this.told;
    if (heard !== undefined && Array.isArray(reply) && reply.length === 3 && reply[0]?.length === MESSAGE) return heard(reply[1], reply[2]);
    const { oldest } = this;
    if (oldest === null) {
      // Whoever is not let in at all is told so at once.
      return this.#lost(reply instanceof RedisError ? reply : new RedisError("Redis has answered what it was not asked", true));
    }
    if (oldest.pings) {
      oldest.pings = false;
      return;
    }
    this.oldest = oldest.next;
    oldest.answered(reply instanceof RedisError ? inWords(reply) : reply);
  }

  #lost(error) {
    if (this.over) return;
    const said = inWords(error);
    this.end();
    this.told.ended(said);
    this.unanswered(said);
  }

  // It is closed; nothing of it is heard any more.
  end() {
    this.over = true;
    this.replies.stop();
    this.socket?.destroy();
  }

  // Says to all who wait that there will be no answer.
  unanswered(error) {
    this.failed?.(error);
    let waits = this.oldest;
    this.oldest = null;
    for (; waits !== null; waits = waits.next) waits.answered(error);
  }
}

module.exports = { Wire };
