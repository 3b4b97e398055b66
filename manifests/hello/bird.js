import { log } from "orchestrator";

export async function start() {
  console.log("the tree stands, so I sing; press Ctrl-C and watch us leave in reverse order");
  setInterval(() => log.info("tweet", { at: new Date().toISOString() }), 5000);
}

export function close() {
  console.log("I fly away first");
}
