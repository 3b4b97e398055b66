import http from "node:http";

http
  .createServer(async (request, response) => {
    const parts = await request.toArray();
    response.end(Buffer.concat(parts).toString().toUpperCase());
  })
  .listen(process.env.PORT);

export const close = () => console.log("closed");
