// The members of a fabric as one session knows them: what they offer, what they hear, and who is chosen for a call.
"use strict";

const { createHash } = require("node:crypto");
const { Outbox, channelOf } = require("./packets.js");
const { covers } = require("./events.js");

const REMEMBERED = 120_000;

// Another session, as far as it is known.
class Peer {
  constructor(session, channel, timeout) {
    this.session = session;
    this.channel = channelOf(channel);
    this.outbox = new Outbox();
    this.waiters = [];
    this.isQueued = false;
    // Whether it has this session's offer, and this session its.
    this.offered = false;
    this.heard = false;
    this.over = false;
    this.isSelf = false;
    this.toSeq = 0;
    this.allSeq = 0;
    this.silence = 0;
    this.timeout = timeout;
    this.rev = 0;
    this.name = "";
    this.kind = "";
    this.host = "";
    this.services = new Map();
    this.hears = [];
    // What is under way there, and what is served for it here.
    this.calls = new Map();
    this.served = new Map();
  }
}

const isText = (value) => typeof value === "string" && value.length <= 4096;
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;

class Members {
  constructor(channelTo, timeout) {
    this.channelTo = channelTo;
    this.timeout = timeout;
    this.peers = new Map();
    this.ended = new Map();
    // By service: { peer, offered } of everybody who offers it.
    this.providers = new Map();
    this.turns = new Map();
  }

  add(session) {
    const peer = new Peer(session, this.channelTo(session), this.timeout);
    this.peers.set(session, peer);
    return peer;
  }

  remove(peer) {
    peer.over = true;
    this.peers.delete(peer.session);
    this.ended.set(peer.session, { until: performance.now() + REMEMBERED, channel: peer.channel });
    this.#index(peer, []);
  }

  // The channel of a session that is known to be over.
  over(session) {
    return this.ended.get(session)?.channel;
  }

  forget() {
    const now = performance.now();
    for (const [session, { until }] of this.ended) if (until < now) this.ended.delete(session);
  }

  // What a member says that it has.
  offer(peer, { rev, name, kind, host, timeout, services, hears }) {
    if (!isCount(rev) || (peer.heard && rev < peer.rev)) return;
    peer.rev = rev;
    peer.heard = true;
    if (isText(name)) peer.name = name;
    if (isText(kind)) peer.kind = kind;
    if (isText(host)) peer.host = host;
    if (timeout > 0) peer.timeout = timeout;
    this.#index(peer, Array.isArray(services) ? services : []);
    peer.hears = (Array.isArray(hears) ? hears : []).filter(
      (one) => isText(one?.service) && isText(one.event) && (one.group === undefined || isText(one.group)),
    );
  }

  #index(peer, services) {
    for (const [name, offered] of peer.services) {
      const left = this.providers.get(name).filter((one) => one.offered !== offered);
      if (left.length > 0) this.providers.set(name, left);
      else {
        this.providers.delete(name);
        this.turns.delete(name);
      }
    }
    const before = peer.services;
    peer.services = new Map();
    for (const one of services) {
      if (!isText(one?.name) || !Array.isArray(one.methods) || peer.services.has(one.name)) continue;
      // The calls that are under way there count on.
      const offered = before.get(one.name) ?? { name: one.name, own: 0, others: 0, load: 0, replicas: 1, methods: new Set() };
      offered.methods = new Set(one.methods);
      offered.replicas = Math.max(1, isCount(one.replicas) ? one.replicas : 1);
      this.#loaded(offered, one.load);
      peer.services.set(one.name, offered);
      const all = this.providers.get(one.name) ?? [];
      this.providers.set(one.name, [...all, { peer, offered }]);
    }
  }

  #loaded(offered, load) {
    offered.load = isCount(load) ? load : 0;
    offered.others = Math.max(0, offered.load - offered.own);
  }

  // What a member says that it has under way.
  beat(peer, load) {
    for (const [name, offered] of peer.services) this.#loaded(offered, load?.[name]);
  }

  // Who gets a call: { peer, offered }, or why nobody can. Those that it was tried on come last, or with `only` not at all.
  choose(service, method, key, tried, only) {
    const all = this.providers.get(service);
    if (all === undefined) return { code: "unavailable", message: "no member of the fabric offers it now" };
    let best = null;
    let bestScore = -Infinity;
    let equals = 0;
    let able = false;
    const turn = (this.turns.get(service) ?? 0) + 1;
    for (const untried of tried === null ? [false] : [true, false]) {
      for (const one of all) {
        if (!one.offered.methods.has(method)) continue;
        able = true;
        if (untried && tried.has(one.peer.session)) continue;
        const { offered } = one;
        const score = key === undefined ? -(offered.others + offered.own) / offered.replicas : weight(key, `${one.peer.name}@${one.peer.host}`);
        if (score > bestScore) {
          best = one;
          bestScore = score;
          equals = 1;
        } else if (score === bestScore) {
          equals += 1;
          // Members of one name on one host are told apart by their sessions.
          if (key !== undefined && weight(key, one.peer.session) > weight(key, best.peer.session)) best = one;
        }
      }
      if (best !== null || only) break;
    }
    if (best === null) {
      if (able) return { exhausted: true, code: "unavailable", message: "it was tried on every member that offers it" };
      return { code: "not-found", message: `there is no method '${method}'` };
    }
    if (equals > 1 && key === undefined) {
      this.turns.set(service, turn);
      let place = turn % equals;
      for (const one of all) {
        const { offered } = one;
        if (!offered.methods.has(method) || (tried !== null && tried.has(one.peer.session) !== tried.has(best.peer.session))) continue;
        if (-(offered.others + offered.own) / offered.replicas !== bestScore) continue;
        if (place === 0) return one;
        place -= 1;
      }
    }
    return best;
  }

  // Who is told an event: { peer, all, groups, services } of each.
  hearers(event) {
    const told = new Map();
    const groups = new Map();
    const of = (peer) => {
      let one = told.get(peer);
      if (one === undefined) told.set(peer, (one = { peer, all: false, groups: [], services: new Set() }));
      return one;
    };
    for (const peer of this.peers.values()) {
      for (const { service, event: pattern, group } of peer.hears) {
        if (!covers(pattern, event)) continue;
        if (group === undefined) {
          const one = of(peer);
          one.all = true;
          one.services.add(service);
        } else {
          const key = `${service}\n${group}`;
          const known = groups.get(key);
          if (known === undefined) groups.set(key, { service, group, peers: [peer] });
          else if (known.peers[known.peers.length - 1] !== peer) known.peers.push(peer);
        }
      }
    }
    for (const [key, { service, group, peers }] of groups) {
      const turn = (this.turns.get(key) ?? 0) + 1;
      this.turns.set(key, turn);
      const one = of(peers[turn % peers.length]);
      one.groups.push([service, group]);
      one.services.add(service);
    }
    return [...told.values()];
  }
}

// How much a key belongs to somebody.
function weight(key, to) {
  return createHash("sha256").update(`${key}\n${to}`).digest().readUIntBE(0, 6);
}

module.exports = { Members };
