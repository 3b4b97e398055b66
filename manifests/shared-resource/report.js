import { services } from "orchestrator";

export async function start() {
  const deposits = await Promise.all(Array.from({ length: 200 }, () => services.worker.deposit("ann")));
  const workers = new Set(deposits.map(({ by }) => by));
  const balance = await services.database.accounts.balance("ann");
  console.log(`${deposits.length} deposits by ${workers.size} workers: ann has ${balance}`);
}
