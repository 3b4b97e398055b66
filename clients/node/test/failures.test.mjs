// What goes wrong in a fabric: members that die, a Redis that is gone, packets that are not to be believed.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import { test } from "node:test";
import { once } from "node:events";
import { connect } from "../index.mjs";
import { failure, hears, key, sees, start, until, withoutRedis } from "./support/help.mjs";

const { Sealer, channelOf } = createRequire(import.meta.url)("../src/packets.js");
const skip = withoutRedis;

test("several providers share the calls, a key stays with one of them", { skip }, async (t) => {
  const redis = await start(t);
  const notes = path.join(redis.folder, "notes");
  for (const name of ["a", "b", "c"]) await redis.program("./provider.mjs", name, notes);
  const client = await redis.join("client");
  await sees(client, "work", 3);
  const { work } = client.services;
  const in_turns = [];
  for (let number = 0; number < 30; number += 1) in_turns.push(await work.who());
  const at_once = await Promise.all(Array.from({ length: 300 }, () => work.who()));
  for (const name of ["a", "b", "c"]) {
    assert.equal(in_turns.filter((one) => one === name).length, 10);
    assert.equal(at_once.filter((one) => one === name).length, 100);
  }
  const places = new Set();
  for (let number = 0; number < 30; number += 1) {
    const of_key = work.options({ key: `customer ${number}` });
    const [first, second] = [await of_key.who(), await of_key.who()];
    assert.equal(first, second);
    places.add(first);
  }
  assert.equal(places.size, 3);
});

test("a provider is killed under load: one retry loses nothing, and without one nothing runs twice", { skip }, async (t) => {
  const redis = await start(t);
  const notes = path.join(redis.folder, "notes");
  fs.writeFileSync(notes, "");
  const providers = [];
  for (const name of ["a", "b"]) providers.push(await redis.program("./provider.mjs", name, notes));
  const client = await redis.join("client");
  await sees(client, "work", 2);
  const once_only = client.services.work;
  const retried = once_only.options({ retries: 1 });
  const codes = new Map();
  let number = 0;
  let isOver = false;
  let answered = 0;
  const lost = [];
  const load = (work, kind) =>
    Array.from({ length: 16 }, async () => {
      while (!isOver) {
        const id = `${kind}${(number += 1)}`;
        try {
          await work.note(id);
          answered += 1;
        } catch (error) {
          codes.set(error.code, (codes.get(error.code) ?? 0) + 1);
          if (kind === "r") lost.push([id, error.message]);
        }
      }
    });
  const all = [...load(once_only, "o"), ...load(retried, "r")];
  await until(() => answered > 300, "there is load");
  await redis.kill(providers[0]);
  const before = answered;
  await sees(client, "work", 1);
  await until(() => answered > before + 300, "the other one serves");
  isOver = true;
  await Promise.all(all);
  assert.deepEqual(lost, [], "with one retry all were answered");
  assert.deepEqual([...codes.keys()].filter((code) => code !== "unavailable"), []);
  const runs = new Map();
  for (const line of fs.readFileSync(notes, "utf8").trim().split("\n")) {
    const [id] = line.split(" ");
    runs.set(id, (runs.get(id) ?? 0) + 1);
  }
  assert.deepEqual([...runs].filter(([id, many]) => many > (id.startsWith("o") ? 1 : 2)), []);
});

test("a call in a packet that reached nobody goes to another member", { skip }, async (t) => {
  const redis = await start(t);
  const client = await redis.join("client");
  const [one, other] = [await redis.join("one"), await redis.join("other")];
  await one.register("work", { who: () => "one" });
  await other.register("work", { who: () => "other" });
  await sees(client, "work", 2);
  // It is deaf, and nobody has been told.
  await one.session.subscriber.command("UNSUBSCRIBE", one.session.own.name);
  const all = await Promise.all(Array.from({ length: 10 }, () => client.services.work.who()));
  assert.deepEqual(all, new Array(10).fill("other"));
});

test("Redis is gone and comes back", { skip }, async (t) => {
  const redis = await start(t);
  const notices = [];
  const [server, client] = [await redis.join("server"), await redis.join("client", { onStatus: (status) => notices.push(status) })];
  const heard = [];
  await server.register("one", { echo: (value) => value, never: () => new Promise(() => {}) });
  await server.on("x.*", (data) => void heard.push(data));
  await sees(client, "one");
  const waits = failure(client.services.one.never());
  const session = client.session.id;
  assert.equal(await client.services.one.echo(1), 1);
  await redis.stopRedis();
  assert.equal((await waits).code, "unavailable");
  await until(() => client.status === "down" && server.status === "down", "both have noticed");
  assert.equal((await failure(client.services.one.echo(2))).code, "unavailable");
  assert.equal((await failure(client.emit("x.y"))).code, "unavailable");
  assert.equal((await failure(client.config("one").get("a"))).code, "unavailable");
  assert.equal((await failure(client.services.one.options({ retries: -1, timeout: 100 }).echo(3))).code, "timeout");
  const patient = client.services.one.options({ retries: -1 }).echo(4);
  // What is begun meanwhile is there afterwards, too.
  await server.register("two", { echo: (value) => value });
  await redis.startRedis();
  assert.equal(await patient, 4);
  assert.equal(await client.services.two.options({ retries: -1 }).echo(5), 5);
  await hears(client, "x.*", 1);
  assert.equal(await client.emit("x.y", 6), 1);
  await until(() => heard.length === 1, "it is heard");
  assert.notEqual(client.session.id, session);
  assert.deepEqual([...new Set(notices)], ["up", "down"]);
  assert.equal(notices.at(-1), "up");
});

// A packet as it is published.
function sealed(sealer, channel, session, text) {
  const command = sealer.publish(channel, session, [text], Buffer.byteLength(text));
  return command.subarray(command.indexOf("\r\n", channel.publish.length) + 2, -2);
}

// One who can publish, and who knows a key or does not.
async function stranger(redis, itsKey = key) {
  const raw = await redis.raw();
  const hearing = await redis.raw(() => {});
  const sealer = new Sealer(Buffer.from(itsKey), "orchestrator", 0);
  const session = "ab".repeat(16);
  await hearing.command("SUBSCRIBE", `orchestrator:0:to:${session}`);
  const seal = (channel, ...messages) => sealed(sealer, channel, session, `${messages.join("\n")}\n`);
  return { raw, hearing, sealer, session, seal, publish: (channel, packet) => raw.command("PUBLISH", channel.name, packet) };
}

const offer = '{"type":"offer","v":1,"rev":1,"name":"raw","kind":"program","host":"h","timeout":60000,"services":[],"hears":[]}';
const hello = '{"type":"hello","name":"raw"}';

test("packets that are not to be believed are refused and counted", { skip }, async (t) => {
  const redis = await start(t);
  const refused = [];
  let runs = 0;
  const fabric = await redis.join("one", { onStatus: (status, about) => status === "refused" && refused.push(about) });
  await fabric.register("work", { run: () => (runs += 1) });
  const own = channelOf(fabric.session.own.name);
  const all = channelOf(fabric.session.all.name);
  const call = '{"type":"call","id":1,"service":"work","method":"run","from":"@program","timeout":1000}';

  const wrong = await stranger(redis, "another key, of 32 bytes and more");
  await wrong.publish(own, wrong.seal(own, offer, call));
  await until(() => fabric.counts.forged === 1, "another key");

  const right = await stranger(redis);
  await right.publish(own, right.seal(channelOf(own.name), call));
  await until(() => fabric.counts.stranger === 1, "a session that nobody knows");
  await right.publish(own, right.seal(channelOf(all.name), offer, call));
  await until(() => fabric.counts.forged === 2, "for another channel");

  const old = (time) => {
    const text = Buffer.from(`{"v":1,"from":"${right.session}","seq":1,"time":${time}}\n${offer}\n${call}\n`);
    return Buffer.concat([right.sealer.tag(own.mac, text), text]);
  };
  await right.publish(own, old(Date.now() - 61_000));
  await right.publish(own, old(Date.now() + 61_000));
  await until(() => fabric.counts.stale === 2, "too old, and from the future");

  const junk = Buffer.from("nothing of this\n");
  await right.publish(own, Buffer.concat([right.sealer.tag(own.mac, junk), junk]));
  await until(() => fabric.counts.malformed === 1, "no packet");
  await right.publish(own, Buffer.from("short"));
  await until(() => fabric.counts.forged === 3, "not even a tag");
  assert.equal(runs, 0);

  const channel = channelOf(own.name);
  const packet = right.seal(channel, offer, call);
  await right.publish(own, packet);
  await until(() => runs === 1, "a real one");
  await right.publish(own, packet);
  await until(() => fabric.counts.replayed === 1, "the same once more");
  await right.publish(all, right.seal(all, '{"type":"bye"}'));
  await until(() => !fabric.members().some(({ name }) => name === "raw"), "it has left");
  await right.publish(own, right.seal(channel, call));
  await until(() => fabric.counts.replayed === 2, "a session that is over");
  assert.equal(runs, 1);
  assert.deepEqual(refused, ["forged", "stranger", "forged", "stale", "stale", "malformed", "forged", "replayed", "replayed"]);
  assert.equal(fabric.status, "up");
});

test("packets that were lost end the session, and another one begins", { skip }, async (t) => {
  const redis = await start(t);
  const fabric = await redis.join("one");
  const raw = await stranger(redis);
  const { id } = fabric.session;
  const channel = channelOf(fabric.session.own.name);
  await raw.publish(channel, raw.seal(channel, offer));
  await until(() => fabric.members().some(({ name }) => name === "raw"), "it is known");
  channel.seq += 1;
  await raw.publish(channel, raw.seal(channel, '{"type":"who"}'));
  await until(() => fabric.status === "up" && fabric.session.id !== id, "there is another session");
});

test("who is over is told so, and believes it", { skip }, async (t) => {
  const redis = await start(t);
  const fabric = await redis.join("one");
  const raw = await stranger(redis);
  const { id } = fabric.session;
  const [own, all] = [channelOf(fabric.session.own.name), channelOf(fabric.session.all.name)];
  await raw.publish(own, raw.seal(own, offer));
  await raw.publish(all, raw.seal(all, '{"type":"bye"}'));
  await until(() => !fabric.members().some(({ name }) => name === "raw"), "it has left");
  let told = false;
  const listens = await redis.raw((...parts) => (told ||= parts.some((part) => String(part).includes('"type":"over"'))));
  await listens.command("SUBSCRIBE", `orchestrator:0:to:${raw.session}`);
  await raw.publish(own, raw.seal(own, '{"type":"who"}'));
  await until(() => told, "it is told");
  assert.equal(fabric.session.id, id);
  const other = await stranger(redis);
  own.seq = 7;
  await other.publish(own, other.seal(own, '{"type":"over"}'));
  await until(() => fabric.status === "up" && fabric.session.id !== id, "there is another session");
});

test("who is silent for too long is over, and so is who says that it was another one before", { skip }, async (t) => {
  const redis = await start(t);
  const fabric = await redis.join("one");
  const raw = await stranger(redis);
  const all = channelOf(fabric.session.all.name);
  const own = channelOf(fabric.session.own.name);
  const offers = offer.replace("60000", "200").replace('"services":[]', '"services":[{"name":"work","replicas":1,"load":0,"methods":["run"]}]');
  await raw.publish(all, raw.seal(all, hello));
  await raw.publish(own, raw.seal(own, offers));
  await sees(fabric, "work");
  const call = fabric.services.work.run();
  assert.equal((await failure(call)).code, "unavailable");
  assert.equal(fabric.members().length, 1);

  const next = await stranger(redis);
  next.session = "cd".repeat(16);
  const told = (session, message) => sealed(next.sealer, channelOf(all.name), session, `${message}\n`);
  await next.publish(all, told("cd".repeat(16), offers.replace("200", "60000")));
  await next.hearing.command("SUBSCRIBE", `orchestrator:0:to:${"cd".repeat(16)}`);
  await sees(fabric, "work");
  const waits = failure(fabric.services.work.run());
  await next.publish(all, told("ef".repeat(16), `{"type":"hello","name":"raw","was":"${"cd".repeat(16)}"}`));
  assert.equal((await waits).code, "unavailable");
});

test("closing leaves nothing behind", { skip }, async (t) => {
  const redis = await start(t);
  const child = await redis.program("./leaves.mjs");
  const exit = once(child, "exit");
  const [said] = await once(child, "message");
  assert.deepEqual(said, { pending: "cancelled", left: [] });
  assert.deepEqual(await exit, [0, null]);
});

test("after the end everything says so", { skip }, async (t) => {
  const redis = await start(t);
  const [fabric, other] = [await redis.join("one"), await redis.join("other")];
  await fabric.close();
  await until(() => !other.members().some(({ name }) => name === "one"), "the others know");
  assert.equal(fabric.status, "down");
  assert.equal((await failure(fabric.call("a", "b"))).code, "unavailable");
  assert.equal((await failure(fabric.emit("a"))).code, "unavailable");
  assert.equal((await failure(fabric.register("a", { b() {} }))).code, "unavailable");
  await fabric.close();
});

test("where no Redis is, or one that does not let it in, connecting fails", { skip }, async (t) => {
  const redis = await start(t);
  const raw = await redis.raw();
  await raw.command("CONFIG", "SET", "requirepass", "secret");
  for (const url of [redis.url, redis.url.replace("//", "//:wrong@")]) {
    const refused = await failure(connect({ redis: url, key, timeout: 10_000 }));
    assert.equal(refused.code, "unavailable");
    assert.match(refused.message, /Redis does not accept this user and password \((NOAUTH|WRONGPASS) [^\n]*\)$/);
    assert.doesNotMatch(refused.message, /wrong@/);
  }
  const fabric = await connect({ redis: redis.url.replace("//", "//:secret@"), key });
  await fabric.close();
  await redis.stopRedis();
  const error = await failure(connect({ redis: redis.url, key, timeout: 200 }));
  assert.equal(error.code, "unavailable");
  assert.match(error.message, /ECONNREFUSED/);
});
