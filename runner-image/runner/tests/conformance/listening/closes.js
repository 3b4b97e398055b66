import http from "node:http";
import { promisify } from "node:util";

const server = http.createServer(async (request, response) => {
  const parts = await request.toArray();
  response.end(Buffer.concat(parts).toString().toUpperCase());
});
server.listen({ port: process.env.PORT, host: "localhost" });

export async function close() {
  await promisify(server.close).call(server);
  console.log("closed");
}
