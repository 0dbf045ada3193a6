export { AccountsBook } from "./accounts.ts";
export type { Charter, Member, PlantMember, Terms } from "./charters.ts";
export { Clearing, type Supply } from "./clearing.ts";
export { type Delivery, deliveriesIn } from "./deliveries.ts";
export { feederName } from "./feeder-name.ts";
export { Ledger, type LedgerOptions } from "./ledger.ts";
export { type OriginShare, originOf } from "./origin.ts";
export type { ChainLog, LatePart, LotStatement, MeterLot } from "./statement.ts";
export { idealReceipt, withCorrection } from "./supplies.ts";
