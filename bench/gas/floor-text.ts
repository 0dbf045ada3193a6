import { CONSUMER_LOT, DISTRIBUTOR_LOT, DISTRIBUTOR_PLANT_LOT, PLANT_LOT, PRICE_BYTES } from "./floor.ts";
import {
  COLD_ACCOUNT,
  COLD_SLOT,
  ECRECOVER,
  FLOOR_TOKEN,
  INTRINSIC,
  keccak,
  log,
  OTHER_BYTE,
  REFUND_QUOTIENT,
  readCode,
  storeCost,
  WARM,
  writeCode,
  ZERO_BYTE,
} from "./schedule.ts";

const gas = (value: number) => value.toLocaleString("en-US");
const fresh = COLD_SLOT + storeCost(0, 0, 1).gas;
const again = COLD_SLOT + storeCost(1, 1, 2).gas;
const twice = WARM + storeCost(1, 2, 3).gas;
const freed = storeCost(1, 1, 0).refund;
const undone = storeCost(0, 1, 0).refund;

/** How the floors come about; its numbers are those that floor.ts computes with. */
export const FLOOR_TEXT = `## The floors

\`floor.ts\` computes them for each transaction, from its own calldata and events and the slots that its duty touches. No
dispatch, decoding, loop, bound check, memory or library call counts. No contract with these duties, these records, this token and
this layout (energies in slots between two stages, say) can go below. What counts:

- **Transaction**: ${gas(INTRINSIC)}. **Calldata**: ${ZERO_BYTE} a zero byte, ${OTHER_BYTE} any other; and by EIP-7623 the transaction costs at least
  ${gas(INTRINSIC)} + ${FLOOR_TOKEN} a zero byte + ${4 * FLOOR_TOKEN} any other.
- **Slots** (EIP-2929, 2200, 3529): touched first ${gas(COLD_SLOT)}, again ${WARM}; written over ${gas(again)}, a new one ${gas(fresh)}, once more in the same
  transaction ${twice}; freed returns ${gas(freed)}, set and freed in one transaction ${gas(undone)}; at most one ${REFUND_QUOTIENT}th of all is returned.
- **Opening**: feeder (which lots are open, its LINK), its operators, its charter, the clearing (new); each request
  a pending slot (new), the Operator's commitment (new) and reserved LINK, two LINK balances. Members' ids as code, ${gas(readCode(36 * 64))}
  for 64 of them.
- **Through the Operator**: authorised sender, commitment (freed), reserved LINK, pending slot (freed), the commitment's hash, the
  answer copied once for the callback.
- **A record**: the meter's key (${gas(COLD_SLOT)}), its account with balance, register and cursor in one slot (${gas(again)}), ecrecover ${gas(ECRECOVER)},
  three hashes (n = 1: ${keccak(6) + keccak(256) + keccak(66)}, n = 288: ${keccak(6 * 288) + keccak(256) + keccak(66)}) and the copy that the first needs.
- **Between the stages**: a plant's energies in slots that are written over, as many bytes each as the highest needs; the
  distributor's stage reads them (${gas(COLD_SLOT)} a slot), and writes the prices: with the clearing at n = 1, in a slot up to n = 4,
  from then on as code, ${PRICE_BYTES} bytes a lot (n = 288: ${gas(writeCode(PRICE_BYTES * 288))}; slots would take ${gas(Math.ceil((PRICE_BYTES * 288) / 32) * fresh)}); a page of consumers reads them back for ${gas(readCode(PRICE_BYTES * 288))}.
- **A lot's arithmetic**, its instructions alone: plant ${PLANT_LOT} (take a lane out, put it down), distributor ${DISTRIBUTOR_LOT} + ${DISTRIBUTOR_PLANT_LOT} a plant (loss 19, excess
  11, penalty 10, factor 6, price 15, cap 8, sums 9, store 6; a plant's lane, times, plus), consumer ${CONSUMER_LOT} (a lane, a price, times, plus).
- **Tokens**: ERC777's balances and supply, zero when no clearing is open, so that the first mint pays for new slots; the ERC-1820
  registry's answers, one for each side that could have a hook (${gas(COLD_SLOT)} each), and that registry and the token touched once (${gas(COLD_ACCOUNT)} each).
- **Events**: those in the receipt: 375, 375 a topic, 8 a byte (a consumer's: ${gas(log(4, 64))}).
- **Contracts called**: ${gas(COLD_ACCOUNT)} each the first time.
`;
