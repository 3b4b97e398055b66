// Packets: how messages are sealed for a channel, and what is refused (docs/fabric-protocol.md, "Packets").
"use strict";

const { createHmac, createSecretKey, hash, timingSafeEqual } = require("node:crypto");
const { LONGEST_PAYLOAD } = require("./values.js");

const TAG = 32;
const BLOCK = 64;
const SHORT = 8192;
const LONGEST_LINE = 1024 * 1024;
const LONGEST_AGE = 60_000;
const MOST_IN_PACKET = 64 * 1024;
const NEWLINE = 10;

// A channel that is published on or heard, with the number of the last packet that was sent there. `publish` is the command of
// Redis that does it, up to the packet's length.
function channelOf(name) {
  return { name, mac: Buffer.from(`${name}\n`), seq: 0, publish: `*3\r\n$7\r\nPUBLISH\r\n$${name.length}\r\n${name}\r\n$` };
}

class Sealer {
  constructor(key, prefix, db) {
    const derived = createHmac("sha256", key).update(`orchestrator-fabric-1\n${prefix}\n${db}`).digest();
    this.key = createSecretKey(derived);
    // The two hashes that HMAC-SHA256 consists of (RFC 2104), each with its block in front.
    this.inner = Buffer.alloc(BLOCK + SHORT, 0x36);
    this.outer = Buffer.alloc(BLOCK + TAG, 0x5c);
    this.found = Buffer.alloc(TAG);
    for (let at = 0; at < derived.length; at += 1) {
      this.inner[at] ^= derived[at];
      this.outer[at] ^= derived[at];
    }
  }

  // The tag of some bytes, of whatever length.
  tag(about, bytes) {
    return createHmac("sha256", this.key).update(about).update(bytes).digest();
  }

  // Leaves the tag that a packet should have in `found`. For a short packet without an Hmac object and without new buffers,
  // which cost more than the hashing, where node can do that (from 20.12 on).
  #find(about, packet) {
    const { inner, outer, found } = this;
    const length = BLOCK + about.length + packet.length - TAG;
    if (hash === undefined || length > inner.length) {
      this.tag(about, packet.subarray(TAG)).copy(found);
      return;
    }
    about.copy(inner, BLOCK);
    packet.copy(inner, BLOCK + about.length, TAG);
    outer.latin1Write(hash("sha256", inner.subarray(0, length), "binary"), BLOCK);
    found.latin1Write(hash("sha256", outer, "binary"), 0);
  }

  // The command that publishes the next packet of a channel. It is of chunks that are texts and bytes and have `size` bytes
  // together. The preface is in front of it.
  publish(channel, session, chunks, size, preface = "") {
    channel.seq += 1;
    const header = `{"v":1,"from":"${session}","seq":${channel.seq},"time":${Date.now()}}\n`;
    const length = TAG + header.length + size;
    const command = `${preface}${channel.publish}${length}\r\n`;
    const begin = command.length;
    const bytes = Buffer.allocUnsafe(begin + length + 2);
    bytes.latin1Write(command, 0);
    let at = begin + TAG;
    at += bytes.latin1Write(header, at);
    for (const chunk of chunks) {
      if (typeof chunk === "string") {
        at += bytes.utf8Write(chunk, at);
      } else {
        bytes.set(chunk, at);
        at += chunk.byteLength;
      }
    }
    bytes[at] = 13;
    bytes[at + 1] = NEWLINE;
    this.#find(channel.mac, bytes.subarray(begin, at));
    this.found.copy(bytes, begin);
    return bytes;
  }

  // What is in a packet: { from, seq, messages }, or the reason why it is refused.
  open(channel, packet) {
    if (packet.length <= TAG) return "forged";
    this.#find(channel.mac, packet);
    if (!timingSafeEqual(this.found, packet.subarray(0, TAG))) return "forged";
    try {
      const end = packet.indexOf(NEWLINE, TAG);
      const { v, from, seq, time } = JSON.parse(packet.latin1Slice(TAG, end));
      if (v !== 1 || !/^[0-9a-f]{32}$/.test(from) || !Number.isSafeInteger(seq) || seq < 1 || !Number.isFinite(time)) return "malformed";
      if (Math.abs(Date.now() - time) > LONGEST_AGE) return "stale";
      return { from, seq, messages: split(packet, end + 1) };
    } catch {
      return "malformed";
    }
  }
}

// The messages of a whole packet: { message, payload } each.
function split(packet, at) {
  const messages = [];
  while (at < packet.length) {
    const found = next(packet, at);
    if (found.message === undefined) throw new Error("it ends in the middle of a message");
    messages.push(found);
    at = found.end;
  }
  if (messages.length === 0) throw new Error("there is nothing in it");
  return messages;
}

// The message that begins there, and its end. Without `message` where it has not all come: then `end`, if it is not 0, is how
// far it goes. Throws where it can be none.
function next(bytes, at) {
  const newline = bytes.indexOf(NEWLINE, at);
  if (newline < 0) {
    if (bytes.length - at > LONGEST_LINE) throw new Error("a line is too long");
    return { end: 0 };
  }
  if (newline - at > LONGEST_LINE) throw new Error("a line is too long");
  const message = JSON.parse(bytes.utf8Slice(at, newline));
  if (typeof message !== "object" || message === null || typeof message.type !== "string") throw new Error("it is no message");
  const { payload: length = 0, json } = message;
  if (!Number.isSafeInteger(length) || length < 0 || length > LONGEST_PAYLOAD) throw new Error("its payload has no length");
  if (json !== undefined && !(Number.isSafeInteger(json) && json >= 0 && json <= length)) throw new Error("its payload is not as long");
  const end = newline + 1 + length;
  if (end > bytes.length) return { end };
  return { message, payload: length === 0 ? undefined : bytes.subarray(newline + 1, end), end };
}

// The messages that wait for the next packet to one member.
class Outbox {
  constructor() {
    this.clear();
  }

  clear() {
    this.text = "";
    this.chunks = [];
    this.size = 0;
  }

  add({ line, size, parts }) {
    this.text += line;
    this.size += size;
    if (parts.length > 0) {
      this.chunks.push(this.text, ...parts);
      this.text = "";
    }
  }

  // Whether a message of this size has to wait for the packet after the next one.
  isFull(size) {
    return this.size > 0 && this.size + size > MOST_IN_PACKET;
  }

  take() {
    if (this.text !== "") this.chunks.push(this.text);
    const { chunks, size } = this;
    this.clear();
    return { chunks, size };
  }
}

module.exports = { Sealer, Outbox, channelOf, next };
