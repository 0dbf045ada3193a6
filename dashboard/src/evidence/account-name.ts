import { type Hex, isHex, meterIdOf } from "@bijuli/protocol";
import type { Bill } from "./bill.ts";

/** What an account is called by: its number in the market, its owner, or its meter. */
export type AccountName = { account: number } | { owner: Hex } | { meterId: Hex };

/**
 * @param text an account's number, an address, a meter's id or its serial
 * @throws BijuliError bad-serial when it can be none of these
 */
export function accountName(text: string): AccountName {
  if (/^[1-9][0-9]{0,9}$/.test(text)) return { account: Number(text) };
  if (isHex(text, 20)) return { owner: text.toLowerCase() as Hex };
  return { meterId: isHex(text, 32) ? (text.toLowerCase() as Hex) : meterIdOf(text) };
}

/** Whether a bill is that of who is so called. A meter is its account's also when another has taken its place since. */
export function isBillOf({ account, owner, meterId, lots, charters }: Bill, name: AccountName): boolean {
  if ("account" in name) return account === name.account;
  if ("owner" in name) return owner === name.owner;
  const seats = [
    ...lots.flatMap(({ consumers, plants }) => [...consumers, ...plants]),
    ...charters.map(({ distributor }) => distributor),
  ];
  return meterId === name.meterId || seats.some((one) => one.account === account && one.meterId === name.meterId);
}
