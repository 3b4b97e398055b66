// Offers the service `work`, and notes each call in a file before it is answered.
import fs from "node:fs";
import { connect } from "../../index.mjs";

const [redis, key, name, notes] = process.argv.slice(2);
const fabric = await connect({ redis, key, name, timeout: 1500 });
await fabric.register("work", {
  async note(number) {
    fs.appendFileSync(notes, `${number} ${name}\n`);
    await new Promise((done) => setImmediate(done));
    return name;
  },
  who: () => name,
});
process.send("ready");
