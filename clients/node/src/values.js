// Values as they travel: JSON, and the bytes in it behind it (docs/host-protocol.md, "Between services").
"use strict";

const { misuse } = require("./errors.js");

const LONGEST_PAYLOAD = 16 * 1024 * 1024;
const NOTHING = [];

const isBytes = (value) => ArrayBuffer.isView(value) || value instanceof ArrayBuffer;

function hasBytes(value, depth) {
  if (typeof value !== "object" || value === null) return false;
  // Deeper than anybody means it: the encoder finds out what it is.
  if (depth > 64 || isBytes(value)) return true;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) if (hasBytes(value[index], depth + 1)) return true;
    return false;
  }
  for (const key in value) if (hasBytes(value[key], depth + 1)) return true;
  return false;
}

// The JSON text of a value, and the bytes that go behind it.
function encode(value) {
  if (value === undefined) return { text: "", parts: NOTHING };
  if (!hasBytes(value, 0)) return { text: JSON.stringify(value) ?? "", parts: NOTHING };
  const parts = [];
  const wrapped = new WeakSet();
  let offset = 0;
  const text = JSON.stringify(value, function replace(key, plain) {
    const own = this[key];
    if (isBytes(own)) {
      // A copy: what the program does with its bytes after the call must not change what is sent.
      const part = new Uint8Array(ArrayBuffer.isView(own) ? own.buffer : own, own.byteOffset ?? 0, own.byteLength).slice();
      parts.push(part);
      offset += part.byteLength;
      return { $bytes: [offset - part.byteLength, part.byteLength] };
    }
    if (typeof own === "object" && own !== null && Object.hasOwn(own, "$bytes") && !wrapped.has(own) && !wrapped.has(this)) {
      wrapped.add(own);
      return { $bytes: "plain", value: own };
    }
    return plain;
  });
  return { text, parts };
}

// The value of a payload; `json` is how much of it is JSON, where bytes are behind.
function decode(payload, json) {
  if (payload === undefined || payload.length === 0) return undefined;
  if (json === undefined) return JSON.parse(payload.utf8Slice(0, payload.length));
  return revive(JSON.parse(payload.utf8Slice(0, json)), payload.subarray(json));
}

function revive(value, behind) {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => revive(item, behind));
  if (Object.hasOwn(value, "$bytes")) {
    const extent = value.$bytes;
    // A copy, for the packet around it is long.
    if (Array.isArray(extent)) return new Uint8Array(behind.subarray(extent[0], extent[0] + extent[1]));
    value = value.value;
    if (typeof value !== "object" || value === null) return value;
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, revive(item, behind)]));
}

// One message as it travels: `head` is its JSON but for the brace at its end. What follows the line is in `text`, then `parts`.
function compose(head, text, parts) {
  if (text === "") return { line: `${head}}\n`, size: Buffer.byteLength(head) + 2, parts };
  const json = Buffer.byteLength(text);
  let behind = 0;
  for (const part of parts) behind += part.byteLength;
  const line = parts.length === 0 ? `${head},"payload":${json}}\n` : `${head},"json":${json},"payload":${json + behind}}\n`;
  return { line: line + text, size: Buffer.byteLength(line) + json + behind, parts };
}

// Whether it is too long to be sent, said for people.
function tooLarge({ text, parts }) {
  let size = text.length * 3 <= LONGEST_PAYLOAD ? 0 : Buffer.byteLength(text);
  for (const part of parts) size += part.byteLength;
  if (parts.length > 0) size += Buffer.byteLength(text);
  return size > LONGEST_PAYLOAD ? `${size} bytes are more than the ${LONGEST_PAYLOAD} that a message may have` : undefined;
}

// A value that has to be JSON alone.
function plainJson(value, what) {
  if (hasBytes(value, 0)) throw misuse(`${what} is kept as JSON, which has no bytes: write them as text, for example in base64`);
  const text = JSON.stringify(value);
  if (text === undefined) throw misuse(`${what} has to be something that JSON knows, not ${typeof value}; remove(name) takes a value away`);
  return text;
}

module.exports = { encode, decode, compose, tooLarge, plainJson, LONGEST_PAYLOAD };
