export { AccountsBook } from "./accounts.ts";
export type { Charter, Member, PlantMember, Terms } from "./charters.ts";
export { type ChainLog, Ledger, type LotStatement, type MeterLot } from "./ledger.ts";
