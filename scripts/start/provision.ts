import { type AddressBook, deploy } from "@bijuli/contracts";
import { EnergyMarketAbi, LinkTokenAbi, MeterRegistryAbi } from "@bijuli/contracts/abi";
import type { Hex } from "@bijuli/protocol";
import {
  AbiCoder,
  Contract,
  type ContractTransactionReceipt,
  type ContractTransactionResponse,
  JsonRpcProvider,
  JsonRpcSigner,
  NonceManager,
  Wallet,
} from "ethers";
import { DEV_KEY } from "./chain.ts";
import { type Feeder, type Grid, type GridMeter, metersOf } from "./grid.ts";
import { rpc } from "./rpc.ts";

const ETHER = 10n ** 18n;
const ROLES = { plant: 0, distributor: 1, consumer: 2 } as const;
/** The consumers of a feeder are listed in portions that fit a block. */
const PORTION = 100;
/** Paid for each request, and what a feeder starts with: 100,000 requests. */
const LINK_PAYMENT = ETHER / 10n;
const LINK_BALANCE = 10_000n * ETHER;
/** A local chain's base fee falls to nothing while little happens; what it then proposes itself it may refuse. */
const FEES = { maxFeePerGas: 10n ** 10n, maxPriorityFeePerGas: 10n ** 9n };

/** Who signs for a meter, and its registers at the end of the lot before the first one to clear, signed. */
export interface Commissioning {
  signer: string;
  reading: { energies: string };
  signature: Hex;
}

/** A feeder as it stands on chain. */
export interface SetUpFeeder {
  name: string;
  feeder: Hex;
  firstLot: bigint;
  lotsPerClearing: number;
}

/** The regulator's hand on a local chain: deploys, registers, joins, funds. */
export class Provisioner {
  readonly #url: string;
  readonly #provider: JsonRpcProvider;
  readonly #regulator: NonceManager;
  #book: AddressBook | undefined;

  constructor(url: string) {
    this.#url = url;
    this.#provider = new JsonRpcProvider(url, undefined, {
      staticNetwork: true,
      cacheTimeout: -1,
      pollingInterval: 25,
    });
    this.#regulator = new NonceManager(new Wallet(DEV_KEY, this.#provider));
  }

  get book(): AddressBook {
    return this.#book!;
  }

  async deploy(lotSeconds: number, nodeAddress: string): Promise<AddressBook> {
    this.#book = await deploy(this.#regulator, { lotSeconds, nodes: [nodeAddress] });
    await this.#fund(nodeAddress, 1_000n * ETHER);
    return this.#book;
  }

  /**
   * Registers a feeder's meters, brings its accounts in by their own transactions, and sets its terms. The chain's time
   * must lie in the lot before `firstLot`: meters and terms hold for lots that have not begun.
   */
  async setUp(
    grid: Grid,
    feeder: Feeder,
    firstLot: bigint,
    commissioning: ReadonlyMap<string, Commissioning>,
    specId: Hex,
  ): Promise<SetUpFeeder> {
    const meters = metersOf(grid, feeder);
    const book = this.book;
    const registry = new Contract(book.registry, MeterRegistryAbi, this.#regulator);
    const market = new Contract(book.market, EnergyMarketAbi, this.#regulator);
    const link = new Contract(book.link, LinkTokenAbi, this.#regulator);

    for (const meter of meters) {
      const { signer, reading, signature } = commissioning.get(meter.serial)!;
      await mined(registry.registerMeter!(signer, capacity(meter.capacityWatts, grid.lotSeconds), reading, signature));
    }

    const id: Hex = await market.createFeeder!.staticCall(feeder.name);
    await mined(market.createFeeder!(feeder.name));
    const accounts = await Promise.all(meters.map((meter) => this.#join(id, meter)));
    const of = (role: GridMeter["role"]) =>
      meters.flatMap((meter, i) => (meter.role === role ? [{ meter, account: accounts[i]! }] : []));

    const lotsPerClearing = feeder.lotsPerClearing ?? grid.lotsPerClearing;
    const { openDelaySeconds, estimateSeconds, abandonSeconds, repeatSeconds, freeRepeats, ...terms } = feeder.terms;
    await mined(
      market.setCharter!(
        id,
        firstLot,
        {
          ...terms,
          lotsPerClearing,
          openDelay: openDelaySeconds,
          estimateSeconds,
          abandonSeconds,
          repeatSeconds,
          freeRepeats,
        },
        of("distributor")[0]!.account,
        of("plant").map(({ meter, account }) => ({ account, pricePerKWh: meter.pricePerKWh })),
      ),
    );
    const consumers = of("consumer").map(({ account }) => account);
    for (let at = 0; at < consumers.length; at += PORTION) {
      await mined(market.listConsumers!(id, firstLot, consumers.slice(at, at + PORTION)));
    }
    await mined(market.setOperators!(id, [{ operator: book.operator, specId, payment: LINK_PAYMENT }]));
    await mined(link.transferAndCall!(book.market, LINK_BALANCE, AbiCoder.defaultAbiCoder().encode(["bytes32"], [id])));
    return { name: feeder.name, feeder: id, firstLot, lotsPerClearing };
  }

  /** The account joins by its own transaction, as it must anywhere, and pays its deposit. */
  async #join(feeder: Hex, meter: GridMeter): Promise<bigint> {
    const owner = meter.account ?? Wallet.createRandom().address;
    // A local chain lets us act for an address whose key we do not hold.
    await rpc(this.#url, "hardhat_impersonateAccount", [owner]);
    await this.#fund(owner, ETHER + meter.deposit);
    const market = new Contract(this.book.market, EnergyMarketAbi, new JsonRpcSigner(this.#provider, owner));
    const limit = meter.role === "plant" ? 0n : 2n ** 64n - 1n;
    const receipt = await mined(market.join!(feeder, meter.meterId, ROLES[meter.role], limit, FEES));
    const joined = receipt.logs.map((log) => market.interface.parseLog(log)).find((event) => event?.name === "Joined");
    const account: bigint = joined!.args.account;
    if (meter.deposit > 0n) await mined(market.deposit!(account, { ...FEES, value: meter.deposit }));
    return account;
  }

  async #fund(address: string, wei: bigint): Promise<void> {
    const held = await this.#provider.getBalance(address);
    await rpc(this.#url, "hardhat_setBalance", [address, `0x${(held + wei).toString(16)}`]);
  }

  close(): void {
    this.#provider.destroy();
  }
}

/** What a rated power allows in a lot, in Units: watts · seconds / 0.36 J, rounded up. */
function capacity(watts: number, lotSeconds: number): bigint {
  return (BigInt(watts) * BigInt(lotSeconds) * 100n + 35n) / 36n;
}

async function mined(sent: Promise<ContractTransactionResponse>): Promise<ContractTransactionReceipt> {
  return (await (await sent).wait())!;
}
