import net from "node:net";

const server = net.createServer((socket) => socket.on("data", (bytes) => socket.write(bytes.toString().toUpperCase())));
server.listen("./app.sock");
server.on("close", () => console.log("closed"));
if (server.address() !== "./app.sock") throw new Error(`listens on ${server.address()}`);
