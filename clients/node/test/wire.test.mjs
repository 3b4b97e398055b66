// The wire to Redis: what it reads, in whatever pieces; what it does not put up with; passwords and TLS.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { createRequire } from "node:module";
import { test } from "node:test";
import tls from "node:tls";
import { connect } from "../index.mjs";
import { failure, key, start, withoutRedis } from "./support/help.mjs";

const { Replies, RedisError } = createRequire(import.meta.url)("../src/replies.js");
const skip = withoutRedis;

// What is read from such pieces. Bytes become texts, errors their message in brackets; the pieces are overwritten afterwards.
function read(...pieces) {
  const found = [];
  const shown = (reply) => {
    if (Array.isArray(reply)) return reply.map(shown);
    if (reply instanceof RedisError) return `[${reply.message}]`;
    return Buffer.isBuffer(reply) ? reply.toString("latin1") : reply;
  };
  const replies = new Replies((reply) => found.push(shown(reply)));
  for (const piece of pieces) {
    const chunk = Buffer.from(piece, "latin1");
    replies.read(chunk);
    chunk.fill(0);
  }
  return found;
}

const text =
  ":0\r\n:12\r\n:-3\r\n+OK\r\n-ERR it is wrong\r\n$-1\r\n$0\r\n\r\n$5\r\na\r\nbc\r\n*-1\r\n*0\r\n" +
  "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$3\r\n\x00\xff\n\r\n*4\r\n:1\r\n$-1\r\n-no\r\n+yes\r\n:7\r\n";
const meant = [0, 12, -3, "OK", "[ERR it is wrong]", null, "", "a\r\nbc", null, [], ["message", "c", "\x00\xff\n"], [1, null, "[no]", "yes"], 7];

test("replies are read in whatever pieces they come", () => {
  assert.deepEqual(read(text), meant);
  for (let at = 1; at < text.length; at += 1) {
    assert.deepEqual(read(text.slice(0, at), text.slice(at)), meant, `in two pieces, the second from ${at} on`);
    for (let then = at + 1; then < text.length; then += 7) {
      assert.deepEqual(read(text.slice(0, at), text.slice(at, then), text.slice(then)), meant, `in pieces that end at ${at} and ${then}`);
    }
  }
  assert.deepEqual(read(...text), meant, "byte by byte");
  const long = "x".repeat(300_000);
  const pieces = `*2\r\n$1\r\na\r\n$300000\r\n${long}\r\n:1\r\n`.match(/[^]{1,65536}/g);
  assert.deepEqual(read(...pieces), [["a", long], 1]);
});

test("what is too long for a fabric is passed over, and what follows is read", () => {
  const length = 20 * 1024 * 1024;
  const long = "x".repeat(length);
  const tooLong = "[more than 18874368 bytes are too many]";
  assert.deepEqual(read(`$${length}\r\n`, long.slice(0, 1000), long.slice(1000), "\r", "\n:1\r\n"), [tooLong, 1]);
  assert.deepEqual(read(`*2\r\n$1\r\na\r\n$${length}\r\n${long}\r\n:1\r\n`), [["a", tooLong], 1]);
});

test("what is no reply is refused", () => {
  const wrong = ["x", "HTTP/1.1 400 Bad Request\r\n", "\r\n", ":\r\n", ":x\r\n", ":1\n", ":1\rx", ":--1\r\n", ":1234567890123456", "$-2\r\n", "$x\r\n"];
  wrong.push("$1\r\nabc\r\n", "$536870913\r\n", "*-2\r\n", "*65537\r\n", "*1\r\n*1\r\n", "+ok\n", `+${"x".repeat(9000)}`, `-${"x".repeat(9000)}\r\n`, "%1\r\n");
  for (const text of wrong) {
    assert.throws(() => read(text), /does not speak as Redis/, JSON.stringify(text.slice(0, 20)));
    assert.throws(() => read(...text), /does not speak as Redis/, `byte by byte: ${JSON.stringify(text.slice(0, 20))}`);
  }
});

// A server that says something else to whoever comes.
async function server(t, greet) {
  const listening = net.createServer((socket) => {
    socket.on("error", () => {});
    greet(socket);
  });
  listening.listen(0, "127.0.0.1");
  await once(listening, "listening");
  t.after(() => listening.close());
  return `redis://127.0.0.1:${listening.address().port}`;
}

test("a server that is no Redis, says too much, or nothing", async (t) => {
  const says = async (greet, timeout) => {
    const error = await failure(connect({ redis: await server(t, greet), key, timeout }));
    assert.equal(error.code, "unavailable");
    assert.doesNotMatch(error.message, /\n/);
    return error.message;
  };
  const began = performance.now();
  const answer = (text) => (socket) => socket.once("data", () => socket.end(text));
  assert.match(await says(answer("HTTP/1.1 400 Bad Request\r\n\r\n"), 10_000), /does not speak as Redis/);
  assert.match(await says(answer("$99999999999\r\n"), 10_000), /does not speak as Redis/);
  assert.match(await says((socket) => socket.write("+OK\r\n+OK\r\n+OK\r\n+OK\r\n"), 10_000), /what it was not asked/);
  assert.match(await says((socket) => socket.on("data", () => socket.write("-NOPERM this user has no permissions\r\n")), 10_000), /NOPERM this user has no permissions/);
  assert.match(await says((socket) => socket.end("-DENIED it is protected\r\n"), 10_000), /DENIED it is protected/);
  assert.ok(performance.now() - began < 5000, "none of it is tried again");
  assert.match(await says((socket) => socket.end("-ERR max number of clients reached\r\n"), 150), /max number of clients/);
  assert.match(await says((socket) => socket.resume(), 150), /has not answered within 150 ms/);
  assert.match(await says((socket) => socket.destroy(), 150), /was lost|ECONNRESET/);
});

test("users with a password, and such as may do only what is needed", { skip }, async (t) => {
  const redis = await start(t);
  const raw = await redis.raw();
  const commands = ["+publish", "+subscribe", "+select"];
  await raw.command("ACL", "SETUSER", "few", "on", ">se:cret@/", "~*", "&*", ...commands);
  const { port } = new URL(redis.url);
  const ways = [
    `redis://few:${encodeURIComponent("se:cret@/")}@127.0.0.1:${port}/3`,
    { host: "127.0.0.1", port: Number(port), db: 3, username: "few", password: "se:cret@/" },
  ];
  const [server, client] = await Promise.all(ways.map((way, index) => redis.join(index === 0 ? "server" : "client", { redis: way })));
  await server.register("one", { echo: (value) => value });
  assert.equal(await client.services.one.options({ retries: -1 }).echo("yes"), "yes");
  assert.equal(client.session.publisher.mayPing, false);
  const error = await failure(client.config("one").get("a"));
  assert.equal(error.code, "unavailable");
  assert.match(error.message, /NOPERM/);
  assert.equal(client.status, "up");
  await raw.command("ACL", "SETUSER", "few", "+ping");
  const other = await redis.join("other", { redis: ways[1] });
  assert.equal(other.session.publisher.mayPing, true);
  assert.equal(await other.services.one.options({ retries: -1 }).echo("yes"), "yes");
});

const openssl = (...args) => spawnSync("openssl", args, { encoding: "utf8" });
const withoutTls = withoutRedis || (openssl("version").status === 0 ? false : "there is no openssl: install it to run this test");

// An authority of one's own, and a certificate of it for `localhost`.
function certificates(folder) {
  const file = (name) => path.join(folder, name);
  const make = (...args) => {
    const { status, stderr } = openssl(...args);
    assert.equal(status, 0, stderr);
  };
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  make("req", "-x509", ...newKey, "-keyout", file("ca.key"), "-out", file("ca.pem"), "-subj", "/CN=the tests' own", "-days", "2");
  make("req", ...newKey, "-keyout", file("key.pem"), "-out", file("request.pem"), "-subj", "/CN=localhost");
  fs.writeFileSync(file("names"), "subjectAltName=DNS:localhost\n");
  make("x509", "-req", "-in", file("request.pem"), "-CA", file("ca.pem"), "-CAkey", file("ca.key"), "-CAcreateserial", "-days", "2", "-extfile", file("names"), "-out", file("cert.pem"));
  return { ca: fs.readFileSync(file("ca.pem")), cert: fs.readFileSync(file("cert.pem")), key: fs.readFileSync(file("key.pem")) };
}

test("TLS, with an authority of one's own", { skip: withoutTls }, async (t) => {
  const redis = await start(t);
  const { ca, cert, key: own } = certificates(redis.folder);
  const { port } = new URL(redis.url);
  const before = tls.createServer({ cert, key: own }, (socket) => {
    const behind = net.connect(Number(port), "127.0.0.1");
    for (const one of [socket, behind]) one.on("error", () => {});
    socket.pipe(behind).pipe(socket);
  });
  before.on("tlsClientError", () => {});
  before.listen(0, "127.0.0.1");
  await once(before, "listening");
  t.after(() => before.close());
  const at = { host: "localhost", port: before.address().port };
  const way = { redis: { ...at, tls: { ca } } };
  const [server, client] = [await redis.join("server", way), await redis.join("client", way)];
  await server.register("one", { echo: (value) => value });
  const { echo } = client.services.one.options({ retries: -1 });
  assert.equal(await echo("yes"), "yes");
  const bytes = new Uint8Array(3_000_000).map((_, at) => at % 251);
  assert.deepEqual(await echo(bytes), bytes);
  const began = performance.now();
  const wrong = [`rediss://localhost:${at.port}`, { ...at, tls: true }, { ...at, host: "127.0.0.1", tls: { ca } }, { host: "127.0.0.1", port: Number(port), tls: { ca } }];
  for (const redis of wrong.slice(0, 3)) {
    const error = await failure(connect({ redis, key, timeout: 10_000 }));
    assert.equal(error.code, "unavailable");
    assert.match(error.message, /^Redis at [^ ]+: there is no TLS with it: [^\n]+$/);
  }
  assert.ok(performance.now() - began < 5000, "none of it is tried again");
  assert.doesNotMatch((await failure(connect({ redis: wrong[3], key, timeout: 200 }))).message, /\n/);
});
