import type { Bill } from "../bill.ts";
import type { BillFile } from "../bill-file.ts";
import { billCsv } from "./csv.ts";
import { greenButton } from "./green-button.ts";
import { printableBill } from "./printable.ts";

/** The forms that a bill comes in. Only json carries the evidence and can be checked. */
export const EXPORTS = ["json", "csv", "greenbutton", "html"] as const;
export type ExportFormat = (typeof EXPORTS)[number];

/** What a browser is told that a form is, and how its file is called. */
export const EXPORT_TYPES: Record<ExportFormat, { type: string; extension: string }> = {
  json: { type: "application/json", extension: "json" },
  csv: { type: "text/csv; charset=utf-8", extension: "csv" },
  greenbutton: { type: "application/atom+xml; charset=utf-8", extension: "xml" },
  html: { type: "text/html; charset=utf-8", extension: "html" },
};

/** A bill in one of its forms, as text. */
export function exportBill(format: ExportFormat, bill: Bill, file: BillFile): string {
  switch (format) {
    case "json":
      return `${JSON.stringify(file, null, 1)}\n`;
    case "csv":
      return billCsv(bill);
    case "greenbutton":
      return greenButton(bill);
    case "html":
      return printableBill(bill);
  }
}
