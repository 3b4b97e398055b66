// The same for a program that is CommonJS.
import client = require("orchestrator-client");

async function main(): Promise<void> {
  const fabric: client.Fabric = await client.connect({ socket: "/run/control.sock" });
  const code: client.Code | undefined = new client.CallError({ message: "x" }).code;
  console.log(code, fabric.status === "up");
  await fabric.close();
}
void main();
