// Events and configuration over a fabric.
import assert from "node:assert/strict";
import { test } from "node:test";
import { deferred, failure, hears, start, until, withoutRedis } from "./support/help.mjs";

const skip = withoutRedis;

test("an event is heard by all who listen, in a group by one", { skip }, async (t) => {
  const redis = await start(t);
  const teller = await redis.join("teller");
  const mailers = [await redis.join("mailer"), await redis.join("mailer")];
  const heard = [[], []];
  const all = [];
  for (const [index, mailer] of mailers.entries()) {
    await mailer.on("order.*", (data) => void heard[index].push(data), { group: "mail" });
    await mailer.on("order.placed", (data, about) => void all.push([data, about]));
  }
  await hears(teller, "order.*", 2);
  await hears(teller, "order.placed", 2);
  // Both listen without a group, and one of them in the group as well: as `mailer` each is one who is told.
  assert.equal(await teller.emit("order.placed", { number: 1, bytes: new Uint8Array([7]) }), 2);
  await until(() => all.length === 2, "both have heard it");
  assert.deepEqual(all[0], [{ number: 1, bytes: new Uint8Array([7]) }, { event: "order.placed", from: "@program@teller" }]);
  for (let number = 2; number <= 10; number += 1) assert.equal(await teller.emit("order.sent", number), 1);
  await until(() => heard[0].length + heard[1].length === 10, "each was heard once");
  assert.deepEqual([heard[0].length, heard[1].length], [5, 5], "in turns");
  assert.equal(await teller.emit("order"), 0);
  assert.equal(await teller.emit("orders.x"), 0);
});

test("off ends it, and a program hears its own events", { skip }, async (t) => {
  const redis = await start(t);
  const [one, other] = [await redis.join("one"), await redis.join("other")];
  const heard = [];
  const off = await one.on("*", (data) => void heard.push(data));
  await hears(other, "*", 1);
  assert.equal(await one.emit("mine", 1), 1);
  assert.equal(await other.emit("theirs", 2), 1);
  await until(() => heard.length === 2, "both are heard");
  await off();
  await hears(other, "*", 0);
  assert.equal(await other.emit("theirs", 3), 0);
  assert.equal(await one.emit("mine"), 0);
});

test("a handler that throws is told of, and hinders no other", { skip }, async (t) => {
  const redis = await start(t);
  const told = [];
  const fabric = await redis.join("one", { onError: (error, what) => told.push([error.message, what]) });
  const heard = deferred();
  await fabric.on("x", () => {
    throw new Error("at once");
  });
  await fabric.on("x", async () => {
    throw new Error("later");
  });
  await fabric.on("x", heard.resolve);
  await fabric.emit("x", 5);
  assert.equal(await heard.promise, 5);
  await until(() => told.length === 2, "both are told");
  assert.deepEqual(told.map(([text]) => text).sort(), ["at once", "later"]);
});

test("configuration is shared, watched, and only what members have written", { skip }, async (t) => {
  const redis = await start(t);
  const complaints = [];
  const [one, other] = [await redis.join("one"), await redis.join("other", { onError: (error) => complaints.push(error) })];
  const [mine, theirs] = [one.config("billing"), other.config("billing")];
  assert.equal(await mine.get("limit"), null);
  const changes = [];
  const limits = [];
  const off = theirs.watch((name, value) => changes.push([name, value]));
  theirs.watch("limit", (name, value) => limits.push(value));
  await mine.set("limit", { most: 5 });
  await mine.set("other", "x");
  assert.deepEqual(await theirs.get("limit"), { most: 5 });
  await mine.remove("limit");
  assert.equal(await theirs.get("limit"), null);
  await until(() => changes.length === 3, "all changes are told");
  assert.deepEqual(changes, [["limit", { most: 5 }], ["other", "x"], ["limit", undefined]]);
  assert.deepEqual(limits, [{ most: 5 }, undefined]);
  off();

  const raw = await redis.raw();
  const stored = await raw.command("HGET", "orchestrator:config:billing", "other");
  await raw.command("HSET", "orchestrator:config:billing", "moved", stored);
  await raw.command("HSET", "orchestrator:config:billing", "made-up", Buffer.concat([Buffer.alloc(32), Buffer.from("1")]));
  for (const name of ["moved", "made-up"]) assert.equal((await failure(mine.get(name))).code, "denied");
  assert.equal(one.counts.forged, 2);
  assert.equal(await mine.get("other"), "x");
  assert.match((await failure(mine.set("bytes", new Uint8Array(1)))).message, /base64/);
  assert.equal((await failure(mine.set("long", "x".repeat(1 << 20)))).code, "too-large");
  assert.deepEqual(complaints, []);
});

test("what was changed while a watcher was away is told when it is back", { skip }, async (t) => {
  const redis = await start(t);
  const [one, other] = [await redis.join("one"), await redis.join("other")];
  await one.config("billing").set("kept", 1);
  await one.config("billing").set("gone", 1);
  const changes = [];
  // What was set before may still be on its way.
  const isNews = (name, value) => name === "changed" || value !== 1;
  other.config("billing").watch((name, value) => isNews(name, value) && changes.push([name, value]));
  await other.config("billing").get("kept");
  await one.config("billing").set("changed", 1);
  await until(() => changes.length === 1, "the watcher hears");
  const was = other.session;
  was.end(new Error("the test ends it"));
  await one.config("billing").set("changed", 2);
  await one.config("billing").remove("gone");
  // A change may be seen in the database and told as well.
  const rest = () => [...new Set(changes.slice(1).map(([name, value]) => `${name} ${value}`))].sort();
  await until(() => rest().length === 2, "the rest is told");
  assert.deepEqual(rest(), ["changed 2", "gone undefined"]);
  assert.notEqual(other.session, was);
});
