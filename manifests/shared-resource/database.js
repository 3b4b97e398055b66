// An ordinary module with a class: nothing in it knows that others use it from their own processes.
import { emit } from "orchestrator";

class Accounts {
  #balances = new Map();
  calls = 0;

  // One at a time, whoever calls: there is one process that has them.
  async deposit(name, amount) {
    const before = this.balance(name);
    await Promise.resolve();
    this.#balances.set(name, before + amount);
    this.calls += 1;
    if (this.calls % 100 === 0) await emit("account.milestone", { calls: this.calls });
    return this.balance(name);
  }

  balance(name) {
    return this.#balances.get(name) ?? 0;
  }
}

let queue = Promise.resolve();
const inner = new Accounts();

export const accounts = {
  // Deposits are queued, so that none is lost between reading and writing.
  deposit: (name, amount) => (queue = queue.then(() => inner.deposit(name, amount))),
  balance: (name) => inner.balance(name),
};

export const count = () => inner.calls;
