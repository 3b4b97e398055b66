import http from "node:http";

const server = http.createServer();
let connection;
server.on("upgrade", (_request, socket) => {
  connection = socket;
  socket.write("HTTP/1.1 101 Lines\r\n\r\n");
});
server.listen(process.env.PORT);

export function close() {
  connection.end("bye\n");
  console.log("closed");
}
