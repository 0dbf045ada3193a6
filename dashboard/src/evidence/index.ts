export { type AccountName, accountName, isBillOf } from "./account-name.ts";
export { accountsOf, chargedLots, type FoundAccount, lotAfter, lotBeforeTime } from "./account-search.ts";
export type {
  Bill,
  BillBlock,
  BillCharter,
  BillEvent,
  BillLot,
  BillMeter,
  BillRequest,
  BillTransaction,
  ConsumerPart,
  PlantPart,
} from "./bill.ts";
export { BILL_FORMAT, type BillFile, parseBillFile } from "./bill-file.ts";
export { type BillQuery, collectBill } from "./collect.ts";
export { energyOfAccount, type Trust } from "./derive.ts";
export { EXPORT_TYPES, EXPORTS, type ExportFormat, exportBill } from "./exports/index.ts";
export { energyText, etherText, percentText } from "./exports/words.ts";
export type { AccountStand, Role } from "./market-state.ts";
export type { Rpc } from "./rpc-supplier.ts";
export { type Verdict, verifyBill } from "./verify.ts";
export { DoesNotHold } from "./witness.ts";
