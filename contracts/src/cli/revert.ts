import { BijuliError } from "@bijuli/protocol";
import { type ErrorDescription, Interface, isError } from "ethers";
import { AccessManagerAbi, EnergyMarketAbi, LinkTokenAbi, MeterRegistryAbi, OperatorAbi } from "../../abi/index.ts";

/** Whatever a call through market, registry, manager or LINK may revert with. */
const interfaces = [EnergyMarketAbi, MeterRegistryAbi, AccessManagerAbi, LinkTokenAbi, OperatorAbi].map(
  (abi) => new Interface(abi),
);

type Words = (args: Record<string, unknown>) => string;

/** What the contracts' refusals mean to the person at the terminal. */
const WORDS: Record<string, Words> = {
  AccessManagedUnauthorized: ({ caller }) =>
    `${caller} is not the regulator: the AccessManager gives it no right to this`,
  AccessManagerNotScheduled: () => "this must be scheduled with the AccessManager first",
  AccessManagerNotReady: () => "this is scheduled, but its delay is not over",
  AccessManagerExpired: () => "this was scheduled too long ago: schedule it again",
  UnknownFeeder: ({ feeder }) => `there is no feeder ${feeder}: create it first`,
  FeederExists: ({ feeder }) => `the feeder ${feeder} is there already`,
  FeederEnded: ({ lot }) => `the feeder has ended with lot ${lot}: its distributor has left`,
  NotChartered: () => "the feeder has no charter yet: give it terms, a distributor and plants first",
  UnknownAccount: ({ account }) => `there is no account ${account}`,
  UnknownMeter: ({ meterId }) => `the meter ${meterId} is not registered`,
  MeterAlreadyRegistered: ({ meterId }) => `the meter ${meterId} is registered already`,
  MeterTaken: ({ meterId, account }) => `the meter ${meterId} is account ${account}'s already`,
  BadSignature: ({ signer }) => `the opening reading is not signed by ${signer} under this registry's domain`,
  ZeroSigner: () => "the meter has no signer",
  CapacityOutOfRange: ({ capacity }) => `a capacity of ${capacity} Units a lot is out of range`,
  WrongLotSeconds: ({ given, expected }) => `the meter's lots are ${given} s long, the registry's ${expected} s`,
  LotNotOver: ({ lot, notBefore }) =>
    `lot ${lot} is not over${notBefore ? ` before unix second ${notBefore}` : " yet"}`,
  LotBegun: ({ lot, fromLot, firstFree }) =>
    `lot ${lot ?? fromLot} has begun: changes hold from lot ${firstFree} on at the earliest`,
  OutOfOrder: ({ fromLot, newest }) =>
    `a change for lot ${newest} is there already, so none can be made for lot ${fromLot}`,
  TooFarAhead: ({ fromLot, latest }) =>
    `lot ${fromLot} is too far ahead: ${latest} is the last one that can be planned`,
  TermTooHigh: ({ term, value, most }) => `${term} is ${value}, which is more than ${most}`,
  TermTooLow: ({ term, value, least }) => `${term} is ${value}, which is less than ${least}`,
  TooManyMembers: ({ count, most }) => `${count} members are more than the ${most} that a feeder can have`,
  TooManyOperators: ({ count, most }) => `${count} operators are more than ${most}`,
  PriceTooHigh: ({ account, price, limit }) =>
    `account ${account} consented to at most ${limit} wei per kWh, and the price can reach ${price}`,
  PriceTooLow: ({ account, price, limit }) =>
    `account ${account} consented to no less than ${limit} wei per kWh, not ${price}`,
  WrongRole: ({ account, role }) =>
    `account ${account} joined as ${["plant", "distributor", "consumer"][Number(role)]}`,
  WrongFeeder: ({ account }) => `account ${account} belongs to another feeder`,
  HasLeft: ({ account }) => `account ${account} has left the feeder`,
  NotListed: ({ account }) => `account ${account} is not listed`,
  AlreadyListed: ({ account }) => `account ${account} is listed already`,
  ZeroAddress: () => "an address is zero, or has no contract",
  ZeroAmount: () => "there is nothing to do: the amount or the list is empty",
  ConsentExpired: ({ deadline }) => `the consent was valid until unix second ${deadline}`,
  ConsentUsed: () => "this consent has been used already",
  BadConsent: ({ owner }) => `the consent is not signed by ${owner} for this feeder, role, limit, nonce and deadline`,
  LinkTooLow: ({ balance, payment }) => `the feeder has ${balance} juels of LINK and needs ${payment}`,
};

/**
 * What a refused call means.
 * @param what the call, in words
 * @returns refused with the reason, or the error itself where the chain did not refuse
 */
export function refusal(what: string, error: unknown): unknown {
  if (!isError(error, "CALL_EXCEPTION")) return error;
  const why = explainRevert(error.data) ?? error.reason ?? "the chain refuses it and does not say why";
  return new BijuliError("refused", `${what}: ${why}`);
}

/** A revert's data in words; undefined when it is none of the contracts' errors. */
export function explainRevert(data: string | null | undefined): string | undefined {
  if (!data || data === "0x") return undefined;
  let found: ErrorDescription | null = null;
  for (const known of interfaces) found ??= known.parseError(data);
  if (!found) return undefined;
  const named = Object.fromEntries(found.fragment.inputs.map(({ name }, i) => [name, found.args[i] as unknown]));
  const words = WORDS[found.name]?.(named);
  const values = Object.entries(named).map(([name, value]) => `${name} ${value}`);
  if (found.name === "Error") return String(found.args[0]);
  return words ?? [found.name, ...values].join(", ");
}
