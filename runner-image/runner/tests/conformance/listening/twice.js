import { once } from "node:events";
import https from "node:https";
import net from "node:net";

const port = Number(process.env.PORT);
const first = https.createServer().listen(port, "0.0.0.0");
await once(first, "listening");
console.log(first.address().address, first.address().port);
const second = net.createServer().listen(port);
const [error] = await once(second, "error");
console.log(error.code);
const third = net.createServer().listen(0);
await once(third, "listening");
console.log(third.address().port !== port);
