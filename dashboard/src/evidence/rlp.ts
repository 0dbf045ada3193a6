import type { Hex } from "@bijuli/protocol";
import { DoesNotHold } from "./witness.ts";

/** An RLP item (Yellow Paper, appendix B): bytes, or a list of items. */
export type Rlp = Hex | Rlp[];

/**
 * Decodes RLP where it stands, in hex: a bill has thousands of trie nodes, and turning each into bytes and back costs
 * more than all the hashing.
 * @throws DoesNotHold for bytes that end within an item, or go on behind it
 */
export function decodeRlp(hex: Hex): Rlp {
  const [item, end] = itemAt(hex, 2);
  if (end !== hex.length) throw malformed();
  return item;
}

function itemAt(hex: string, at: number): [Rlp, number] {
  const first = Number.parseInt(hex.slice(at, at + 2), 16);
  if (first < 0x80) return [`0x${hex.slice(at, at + 2)}`, at + 2];
  const list = first >= 0xc0;
  const short = first - (list ? 0xc0 : 0x80);
  let from = at + 2;
  let length = short;
  if (short > 55) {
    const digits = 2 * (short - 55);
    length = Number.parseInt(hex.slice(from, from + digits), 16);
    from += digits;
  }
  const end = from + 2 * length;
  if (!(end <= hex.length)) throw malformed();
  if (!list) return [`0x${hex.slice(from, end)}`, end];
  const items: Rlp[] = [];
  while (from < end) {
    const [item, next] = itemAt(hex, from);
    items.push(item);
    from = next;
  }
  if (from !== end) throw malformed();
  return [items, end];
}

const malformed = () => new DoesNotHold("the evidence holds bytes that are no RLP");
