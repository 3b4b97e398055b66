// What 50 members with 20 services each cost Redis, and themselves, while nobody calls: in percent of a core.
//
//   node idle.mjs redis://127.0.0.1:6379 [members] [services] [seconds]
import { createConnection } from "node:net";
import { connect } from "orchestrator-client";

const [redis = "redis://127.0.0.1:6379", members = "50", services = "20", seconds = "30"] = process.argv.slice(2);
const key = "only a bench, so that this is no secret";
const { hostname, port } = new URL(redis);

// The processor time that Redis says it has used, in seconds.
const used = () =>
  new Promise((done, fail) => {
    let text = "";
    const socket = createConnection(Number(port || 6379), hostname, () => socket.write("INFO cpu\r\n"));
    socket.on("error", fail);
    socket.on("data", (data) => {
      text += data;
      const found = /used_cpu_sys:([\d.]+)[^]*used_cpu_user:([\d.]+)/.exec(text);
      if (found === null) return;
      socket.destroy();
      done(Number(found[1]) + Number(found[2]));
    });
  });

const all = [];
for (let i = 0; i < Number(members); i++) {
  const member = await connect({ redis, key, prefix: `idle-${process.pid}`, name: `member-${i}` });
  for (let j = 0; j < Number(services); j++) await member.register(`service-${i}-${j}`, { get() {}, set() {}, list() {} });
  all.push(member);
}
const wait = (time) => new Promise((done) => setTimeout(done, time * 1000));
await wait(3);
const seen = all[0].members().length;
const [redisBefore, ownBefore] = [await used(), process.cpuUsage()];
await wait(Number(seconds));
const [redisAfter, own] = [await used(), process.cpuUsage(ownBefore)];
const percent = (time) => Number(((time / Number(seconds)) * 100).toFixed(2));
console.log(JSON.stringify({ seen, redis: percent(redisAfter - redisBefore), members: percent((own.user + own.system) / 1e6) }));
for (const member of all) await member.close();
