import net from "node:net";

const server = net.createServer((socket) => socket.on("data", (bytes) => socket.write(bytes.toString().toUpperCase())));
server.on("close", () => console.log("closed"));

export const start = () => new Promise((resolve) => server.listen({ port: Number(process.env.PORT), host: "::" }, resolve));
