// The configuration of services, as it is kept in Redis (docs/fabric-protocol.md, "Configuration").
"use strict";

const { timingSafeEqual } = require("node:crypto");
const { CallError, misuse } = require("./errors.js");
const { decode, plainJson } = require("./values.js");

const TAG = 32;
const MOST_VALUES = 1024;
const LONGEST_VALUE = 1024 * 1024;

function valueName(name) {
  const text = String(name);
  const length = Buffer.byteLength(text);
  if (length < 1 || length > 256) throw misuse(`the name of a value has 1 to 256 bytes, this one has ${length}`);
  return text;
}

function valueText(value) {
  const text = plainJson(value, "a value of the configuration");
  const length = Buffer.byteLength(text);
  if (length > LONGEST_VALUE) throw new CallError({ code: "too-large", message: `a value has at most ${LONGEST_VALUE} bytes, this one has ${length}` });
  return text;
}

// Calls a watcher; what it throws is told.
function tell(fabric, watcher, name, value) {
  Promise.resolve()
    .then(() => watcher(name, value))
    .catch((error) => fabric.complain("a watcher of the configuration", error));
}

class Configuration {
  constructor(fabric, service) {
    this.fabric = fabric;
    this.service = service;
    this.hash = `${fabric.settings.prefix}:config:${service}`;
    this.watchers = new Set();
    // By name, the tag of the value that the watchers know; undefined while they know none.
    this.known = undefined;
    // What was told while the database is asked: that is newer than its answer.
    this.told = undefined;
    this.api = {
      get: (name) => this.get(name),
      set: (name, value) => this.set(name, value),
      remove: (name) => this.remove(name),
      watch: (name, watcher) => this.watch(name, watcher),
    };
  }

  #about(name) {
    return Buffer.from(`config\n${this.service}\n${name}\n`);
  }

  #sealed(name, text) {
    const json = Buffer.from(text);
    return Buffer.concat([this.fabric.sealer.tag(this.#about(name), json), json]);
  }

  // The JSON of what was found in the database, or undefined where no member has written it.
  #opened(name, stored) {
    if (stored.length > TAG && stored.length <= TAG + LONGEST_VALUE) {
      const json = stored.subarray(TAG);
      if (timingSafeEqual(this.fabric.sealer.tag(this.#about(name), json), stored.subarray(0, TAG))) return json;
    }
    this.fabric.refused("forged");
    return undefined;
  }

  async get(name) {
    const field = valueName(name);
    const stored = await this.fabric.command("HGET", this.hash, field);
    if (stored === null) return null;
    const json = this.#opened(field, stored);
    if (json === undefined) {
      const message = `the value '${field}' was not written by a member of this fabric: set it again`;
      throw new CallError({ code: "denied", message, service: this.service });
    }
    return decode(json);
  }

  async set(name, value) {
    const field = valueName(name);
    const text = valueText(value);
    const [isThere, values] = await Promise.all([
      this.fabric.command("HEXISTS", this.hash, field),
      this.fabric.command("HLEN", this.hash),
    ]);
    if (!isThere && values >= MOST_VALUES) {
      throw new CallError({ code: "overloaded", message: `it has ${MOST_VALUES} values, which is the most`, service: this.service });
    }
    await this.fabric.command("HSET", this.hash, field, this.#sealed(field, text));
    await this.#told(field, text);
  }

  async remove(name) {
    const field = valueName(name);
    if ((await this.fabric.command("HDEL", this.hash, field)) > 0) await this.#told(field, "");
  }

  async #told(name, text) {
    const json = text === "" ? undefined : Buffer.from(text);
    await this.fabric.tellAll(`{"type":"config","service":${JSON.stringify(this.service)},"name":${JSON.stringify(name)}`, text);
    this.heard(name, json);
  }

  // A value is another one now; without `json`, it was removed.
  heard(name, json) {
    if (this.watchers.size === 0) return;
    const tag = json === undefined ? undefined : this.fabric.sealer.tag(this.#about(name), json).toString("hex");
    this.told?.set(name, tag);
    if (tag === undefined) this.known?.delete(name);
    else this.known?.set(name, tag);
    this.#tell(name, json);
  }

  #tell(name, json) {
    let value;
    try {
      value = decode(json);
    } catch (error) {
      return this.fabric.complain(`the value '${name}' of ${this.service}`, error);
    }
    for (const { name: wanted, watcher } of this.watchers) {
      if (wanted === undefined || wanted === name) tell(this.fabric, watcher, name, value);
    }
  }

  watch(name, watcher) {
    if (typeof name === "function") [name, watcher] = [undefined, name];
    if (typeof watcher !== "function") throw misuse("watch(name, watcher): the watcher is no function");
    const entry = { name: name === undefined ? undefined : valueName(name), watcher };
    this.watchers.add(entry);
    if (this.watchers.size === 1) this.compare();
    return () => {
      this.watchers.delete(entry);
      if (this.watchers.size === 0) this.known = undefined;
    };
  }

  // Between two sessions nobody has heard what has changed: it is seen by the tags. The first time they are only noted.
  async compare() {
    if (this.watchers.size === 0) return;
    const { known } = this;
    const told = (this.told = new Map());
    let all;
    try {
      all = await this.fabric.command("HGETALL", this.hash);
    } catch {
      // The next session asks again.
      return;
    }
    if (this.told !== told || this.watchers.size === 0) return;
    this.told = undefined;
    const now = new Map();
    for (let at = 0; at + 1 < all.length; at += 2) {
      const [name, stored] = [String(all[at]), all[at + 1]];
      if (told.has(name)) continue;
      if (!Buffer.isBuffer(stored)) {
        // It is far too long.
        this.fabric.refused("forged");
        continue;
      }
      const tag = stored.subarray(0, TAG).toString("hex");
      if (known === undefined || known.get(name) === tag) {
        now.set(name, tag);
      } else {
        const json = this.#opened(name, stored);
        if (json === undefined) continue;
        now.set(name, tag);
        this.#tell(name, json);
      }
    }
    for (const name of known?.keys() ?? []) if (!now.has(name) && !told.has(name)) this.#tell(name, undefined);
    for (const [name, tag] of told) if (tag !== undefined) now.set(name, tag);
    this.known = now;
  }
}

module.exports = { Configuration, valueName, valueText, tell };
