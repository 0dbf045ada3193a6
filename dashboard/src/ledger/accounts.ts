import { BijuliError } from "@bijuli/protocol";

interface Debt {
  owed: bigint;
  /** Paid by the debtor, not yet collected by its creditors. */
  pot: bigint;
  /** While there is one creditor, payments go straight to it. */
  creditor: number;
  pooled: boolean;
}

/**
 * The money of every account, from the events alone: what it owns, what it owes, and what it has paid that its
 * creditors have not collected. All in wei. An event of arrears takes back what could not be paid, so that every step
 * is a plain transfer.
 */
export class AccountsBook {
  readonly #balances = new Map<number, bigint>();
  readonly #debts = new Map<number, Debt>();
  /** Ether that came in and went out. */
  in = 0n;
  out = 0n;

  balanceOf(account: number): bigint {
    return this.#balances.get(account) ?? 0n;
  }

  /** What an account owes, and what of its payments waits for its creditors. */
  arrearsOf(account: number): { owed: bigint; pot: bigint } {
    const { owed, pot } = this.#debt(account);
    return { owed, pot };
  }

  /** Every account that was ever touched. */
  accounts(): number[] {
    return [...new Set([...this.#balances.keys(), ...this.#debts.keys()])].sort((a, b) => a - b);
  }

  /** Begins with what an account had, for a book that does not begin at the beginning. */
  open(account: number, had: { balance: bigint; owed: bigint; pot: bigint; creditor: number; pooled: boolean }): void {
    const { balance, ...debt } = had;
    this.#balances.set(account, balance);
    this.#debts.set(account, debt);
  }

  deposit(account: number, amount: bigint): void {
    this.in += amount;
    this.#add(account, amount);
  }

  withdraw(account: number, amount: bigint): void {
    this.out += amount;
    this.#add(account, -amount);
  }

  /** What one account owes another and, as far as it can, pays. */
  charge(from: number, to: number, amount: bigint): void {
    this.#add(from, -amount);
    this.#add(to, amount);
  }

  arrearsGrown(debtor: number, creditor: number, amount: bigint): void {
    this.charge(creditor, debtor, amount);
    const debt = this.#debt(debtor);
    if (debt.owed === 0n) debt.creditor = creditor;
    else if (debt.creditor !== creditor) debt.pooled = true;
    debt.owed += amount;
  }

  arrearsPaid(debtor: number, amount: bigint): void {
    const debt = this.#debt(debtor);
    if (amount > debt.owed) throw new BijuliError("ledger-disagrees", `account ${debtor} paid more than it owed`);
    this.#add(debtor, -amount);
    if (debt.pooled) debt.pot += amount;
    else this.#add(debt.creditor, amount);
    debt.owed -= amount;
    if (debt.owed === 0n) debt.pooled = false;
  }

  claimCollected(debtor: number, creditor: number, amount: bigint): void {
    this.#debt(debtor).pot -= amount;
    this.#add(creditor, amount);
  }

  #add(account: number, amount: bigint): void {
    this.#balances.set(account, this.balanceOf(account) + amount);
  }

  #debt(account: number): Debt {
    const debt = this.#debts.get(account) ?? { owed: 0n, pot: 0n, creditor: 0, pooled: false };
    this.#debts.set(account, debt);
    return debt;
  }
}
