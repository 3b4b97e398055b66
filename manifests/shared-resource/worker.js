import { on, replica, services } from "orchestrator";

// Of all replicas one hears each milestone.
export const start = () =>
  on("account.*", ({ calls }) => console.log(`the database has served ${calls} deposits`), { group: "milestones" });

export const deposit = async (name) => ({ by: replica, balance: await services.database.accounts.deposit(name, 1) });
