// One session on Redis: two connections, the packets over them, and the members that are heard of. When anything of it is
// lost, all of it is over; a new one is the fabric's business.
"use strict";

const { randomBytes } = require("node:crypto");
const os = require("node:os");
const { Members } = require("./members.js");
const { channelOf } = require("./packets.js");
const { compose } = require("./values.js");
const { Wire } = require("./wire.js");

const NOTHING = [];
const GATHERING = 1000;
const MOST_UNANSWERED = 64 * 1024 * 1024;

// owner: { settings, sealer, counts, offers()   what this member has: { rev, services, hears }
//          load()                               the calls under way here, by service
//          refused(kind), heard(peer, message, payload), lost(peer, why, unheard), offered(), ended(session, error) }
class Session {
  constructor(owner, was) {
    this.owner = owner;
    this.was = was;
    this.id = randomBytes(16).toString("hex");
    const { prefix, redis, timeout } = owner.settings;
    const base = `${prefix}:${redis.db}`;
    this.all = channelOf(`${base}:all`);
    this.own = channelOf(`${base}:to:${this.id}`);
    this.members = new Members((session) => `${base}:to:${session}`, timeout);
    this.over = false;
    this.queue = [];
    this.unanswered = 0;
    // How many commands were given, and answered, and how many there were at each of the last beats.
    this.given = 0;
    this.answered = 0;
    this.marks = [];
    this.echo = 0;
    this.flushAll = () => this.#flushAll();
  }

  // Connects, says hello, and waits for what the others offer.
  async open() {
    const { redis, timeout } = this.owner.settings;
    const ended = (error) => this.end(error);
    this.publisher = new Wire(redis, { ended });
    this.subscriber = new Wire(redis, { ended, heard: (channel, packet) => this.#hear(channel.length === this.all.name.length, packet) });
    const patience = setTimeout(() => this.end(new Error(`Redis has not answered within ${timeout} ms`)), timeout);
    try {
      await Promise.all([this.publisher.open(), this.subscriber.open()]);
      await Promise.all([this.all, this.own].map(({ name }) => this.#command(this.subscriber.command("SUBSCRIBE", name))));
      this.lastTick = performance.now();
      this.ticking = setInterval(() => this.#tick(), timeout / 3);
      // It is a member like the others for itself: what it offers, it can use.
      const self = this.members.add(this.id);
      self.offered = true;
      self.isSelf = true;
      this.#offerToSelf();
      const was = this.was === undefined ? "" : `,"was":"${this.was}"`;
      const heard = await this.#publishAll(`{"type":"hello","name":${JSON.stringify(this.owner.settings.name)}${was}`);
      clearTimeout(patience);
      await this.#gather(heard);
    } catch (error) {
      this.end(error);
    } finally {
      clearTimeout(patience);
    }
    if (this.over) throw this.error;
  }

  // Until everybody who has heard the hello has answered with an offer; not for long, for some might listen only.
  async #gather(heard) {
    let enough;
    const waits = new Promise((resolve) => (enough = resolve));
    const timer = setTimeout(enough, Math.min(GATHERING, this.owner.settings.timeout / 2));
    this.gathered = () => {
      let known = 0;
      for (const peer of this.members.peers.values()) if (peer.heard) known += 1;
      if (known >= heard || this.over) enough();
    };
    this.gathered();
    await waits;
    this.gathered = undefined;
    clearTimeout(timer);
  }

  end(error) {
    if (this.over) return;
    this.over = true;
    this.error = error;
    clearInterval(this.ticking);
    const wires = [this.publisher, this.subscriber].filter((wire) => wire !== undefined);
    for (const wire of wires) wire.end();
    this.gathered?.();
    this.owner.ended(this, error);
    for (const wire of wires) wire.unanswered(error);
  }

  // Says bye, and ends once Redis has heard it.
  async close() {
    if (this.over) return;
    this.#flushAll();
    const { timeout } = this.owner.settings;
    let timer;
    const patience = new Promise((resolve) => (timer = setTimeout(resolve, timeout)));
    await Promise.race([this.toAll('{"type":"bye"'), patience]);
    clearTimeout(timer);
    this.end(new Error("it was closed"));
    await Promise.race([Promise.all([this.publisher.closed, this.subscriber.closed]), new Promise((resolve) => setTimeout(resolve, 1000).unref())]);
  }

  // --- what goes out ---

  // A command of Redis; a session whose commands are not answered is over.
  async #command(promise) {
    this.given += 1;
    try {
      return await promise;
    } finally {
      this.answered += 1;
    }
  }

  command(...parts) {
    return this.#command(this.publisher.command(...parts));
  }

  // `answered(heard)` gets how many have heard it, or -1.
  #publish(channel, chunks, size, answered) {
    const { preface } = this.publisher;
    const bytes = this.owner.sealer.publish(channel, this.id, chunks, size, preface);
    const { length } = bytes;
    this.given += 1;
    this.unanswered += length;
    const done = (heard) => {
      this.answered += 1;
      this.unanswered -= length;
      if (typeof heard === "number") return answered(heard);
      this.end(heard instanceof Error ? heard : new Error("Redis does not say how many have heard a packet"));
      answered(-1);
    };
    this.publisher.send(bytes, done, preface !== "");
  }

  // Gives how many have heard it.
  #publishAll(head, text = "") {
    const { line, size } = compose(head, text, NOTHING);
    return new Promise((resolve, reject) => {
      if (this.over) return reject(this.error);
      this.#publish(this.all, [line], size, (heard) => (heard < 0 ? reject(this.error) : resolve(heard)));
    });
  }

  // A session is over, and may not know.
  #tellOver(channel) {
    const { line, size } = compose('{"type":"over"', "", NOTHING);
    this.#publish(channel, [line], size, () => {});
  }

  // To everybody. What fails here ends the session, and is told by that.
  toAll(head, text) {
    return this.#publishAll(head, text).catch(() => {});
  }

  get isCrowded() {
    return this.unanswered > MOST_UNANSWERED;
  }

  // A message to one member, in the packet with this number. `answered` hears how many that has reached.
  post(peer, head, text, parts, answered) {
    if (this.over || peer.over) {
      answered?.(this.over ? -1 : 0);
      return peer.channel.seq + 1;
    }
    if (!peer.offered) {
      peer.offered = true;
      this.#add(peer, this.#offer(), "", NOTHING);
    }
    this.#add(peer, head, text, parts);
    if (answered !== undefined) peer.waiters.push(answered);
    return peer.channel.seq + 1;
  }

  #add(peer, head, text, parts) {
    const message = compose(head, text, parts);
    if (peer.outbox.isFull(message.size)) this.#flush(peer);
    peer.outbox.add(message);
    if (peer.isQueued) return;
    peer.isQueued = true;
    // Once everything that is to be done now is done: so what belongs together goes together, and nothing waits.
    if (this.queue.push(peer) === 1) process.nextTick(this.flushAll);
  }

  #flushAll() {
    const { queue } = this;
    this.queue = [];
    for (const peer of queue) {
      peer.isQueued = false;
      this.#flush(peer);
    }
  }

  #flush(peer) {
    const { waiters } = peer;
    peer.waiters = [];
    const { chunks, size } = peer.outbox.take();
    if (size === 0 || this.over || peer.over) return waiters.forEach((answered) => answered(this.over ? -1 : 0));
    const seq = peer.channel.seq + 1;
    this.#publish(peer.channel, chunks, size, (heard) => {
      if (heard === 0) this.lose(peer, "it is gone", seq);
      for (const answered of waiters) answered(heard);
    });
  }

  #offer() {
    const { name, timeout } = this.owner.settings;
    const { rev, services, hears } = this.owner.offers();
    const about = { v: 1, rev, name, kind: "program", host: os.hostname(), timeout, services, hears };
    return `{"type":"offer",${JSON.stringify(about).slice(1, -1)}`;
  }

  #offerToSelf() {
    const { name, timeout } = this.owner.settings;
    const about = { ...this.owner.offers(), name, kind: "program", host: os.hostname(), timeout };
    this.members.offer(this.members.peers.get(this.id), about);
  }

  // What this member has is not what it was.
  async changed() {
    this.#offerToSelf();
    this.owner.offered();
    await this.toAll(this.#offer());
  }

  // --- what comes in ---

  #hear(toAll, packet) {
    if (this.over) return;
    if (packet instanceof Error) return this.owner.refused("malformed");
    const { members } = this;
    const found = this.owner.sealer.open(toAll ? this.all : this.own, packet);
    if (typeof found === "string") return this.owner.refused(found);
    const { from, seq, messages } = found;
    if (toAll && from === this.id) {
      // Its own words come back: so the way through Redis is whole.
      this.echo = seq;
      return;
    }
    // Worth nothing a second time: then this session is over already.
    if (!toAll && messages[0].message.type === "over") return this.end(new Error("another member had not heard of this program for too long"));
    const over = members.over(from);
    if (over !== undefined) {
      // It does not seem to know.
      this.#tellOver(over);
      return this.owner.refused("replayed");
    }
    let peer = members.peers.get(from);
    if (toAll) {
      if (peer !== undefined && seq <= peer.allSeq) return this.owner.refused("replayed");
    } else {
      if (peer !== undefined && seq <= peer.toSeq) return this.owner.refused("replayed");
      if (!(peer?.heard || messages[0].message.type === "offer")) return this.owner.refused("stranger");
      if (seq !== (peer?.toSeq ?? 0) + 1) return this.end(new Error("packets were lost on the way"));
    }
    const isNew = peer === undefined;
    if (isNew) peer = members.add(from);
    if (toAll) peer.allSeq = seq;
    else peer.toSeq = seq;
    peer.silence = 0;
    for (const { message, payload } of messages) {
      try {
        this.#dispatch(peer, message, payload);
      } catch (error) {
        // What one member says must not end the program of another.
        this.owner.refused("malformed");
        this.owner.complain(`a message of ${peer.name}`, error);
      }
      if (this.over || peer.over) return;
    }
    if (!peer.offered) this.post(peer, '{"type":"who"', "", NOTHING);
  }

  #dispatch(peer, message, payload) {
    switch (message.type) {
      case "hello": {
        const was = this.members.peers.get(message.was);
        if (was !== undefined && was !== peer) this.lose(was, "it has lost its connection");
        if (typeof message.name === "string") peer.name = message.name;
        return this.#introduce(peer);
      }
      case "offer":
        this.members.offer(peer, message);
        this.#introduce(peer);
        this.gathered?.();
        return this.owner.offered();
      case "beat":
        if (peer.heard && message.rev === peer.rev) this.members.beat(peer, message.load);
        else this.post(peer, '{"type":"who"', "", NOTHING);
        return;
      case "who":
        peer.offered = true;
        return this.#add(peer, this.#offer(), "", NOTHING);
      case "bye":
        return this.lose(peer, "it has left");
      default:
        this.owner.heard(peer, message, payload);
    }
  }

  // It gets this session's offer, unless it has it.
  #introduce(peer) {
    if (peer.offered) return;
    peer.offered = true;
    this.#add(peer, this.#offer(), "", NOTHING);
  }

  // A member's session is over. Packets from `unheard` on have not reached it.
  lose(peer, why, unheard) {
    if (peer.over) return;
    if (peer.isSelf) return this.end(new Error("it does not hear itself any more"));
    this.members.remove(peer);
    // What was not published yet has not reached it either.
    this.owner.lost(peer, why, unheard ?? peer.channel.seq + 1);
    this.gathered?.();
  }

  #tick() {
    const { timeout } = this.owner.settings;
    const now = performance.now();
    const silent = now - this.lastTick;
    this.lastTick = now;
    // The others have not heard of it for so long that its session is over for them.
    if (silent >= timeout) return this.end(new Error(`this program was held up for ${Math.round(silent)} ms`));
    const past = this.marks.length >= 3 ? this.marks.shift() : undefined;
    if (past !== undefined && this.answered < past.given) return this.end(new Error(`Redis has not answered within ${timeout} ms`));
    if (past !== undefined && this.echo < past.said) return this.end(new Error(`Redis has passed on nothing for ${timeout} ms`));
    for (const peer of [...this.members.peers.values()]) {
      if (peer.isSelf) continue;
      // When this program was held up itself, what the others have said in the meantime is still to be read.
      peer.silence += Math.min(silent, timeout / 2);
      if (peer.silence >= peer.timeout) {
        // It may live, and not know that it is over.
        if (peer.heard) this.#tellOver(peer.channel);
        this.lose(peer, `nothing was heard of it for ${peer.timeout} ms`);
      } else if (peer.heard && peer.silence > peer.timeout / 2) {
        // If it is gone, this reaches nobody, and who waits for it learns that sooner.
        this.post(peer, '{"type":"who"', "", NOTHING);
      }
    }
    this.members.forget();
    const load = this.owner.load();
    this.members.beat(this.members.peers.get(this.id), load);
    this.toAll(`{"type":"beat","rev":${this.owner.offers().rev},"load":${JSON.stringify(load)}`);
    this.marks.push({ given: this.given, said: this.all.seq });
  }
}

module.exports = { Session };
