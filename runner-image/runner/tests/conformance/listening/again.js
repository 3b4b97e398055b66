import { once } from "node:events";
import net from "node:net";

const server = net.createServer().listen(process.env.PORT);
await once(server, "listening");
server.close();
await once(server, "close");
server.listen(process.env.PORT);
await once(server, "listening");
