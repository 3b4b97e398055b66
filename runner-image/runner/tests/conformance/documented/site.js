export async function fetch(request) {
  const { pathname } = new URL(request.url);
  if (pathname === "/") return new Response("<h1>Shop</h1>", { headers: { "content-type": "text/html" } });
  if (pathname === "/orders" && request.method === "POST") {
    const { article } = await request.json();
    return Response.json({ ordered: article }, { status: 201 });
  }
  if (pathname === "/ticks") return new Response(ticks(3, request.signal));
  return new Response(null, { status: 404 });
}

async function* ticks(count, signal) {
  for (let tick = 1; tick <= count && !signal.aborted; tick += 1) {
    yield `tick ${tick}\n`;
    await new Promise((done) => setTimeout(done, 10));
  }
}
