import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { EnergyMarketAbi, MeterRegistryAbi } from "@bijuli/contracts/abi";
import { BijuliError, explain, type Hex, openClock, type SettingValues } from "@bijuli/protocol";
import { Interface } from "ethers";
import type { Logger } from "pino";
import { buildApp } from "./app.ts";
import { Bills } from "./bills.ts";
import { bundlePage } from "./bundle.ts";
import { DemoProxy } from "./demo-proxy.ts";
import { Events } from "./events.ts";
import { Follower } from "./follower.ts";
import { Metrics } from "./metrics.ts";
import { Neighbours } from "./neighbours.ts";
import { Projection } from "./projection.ts";
import { Queries } from "./queries.ts";
import { Rpc } from "./rpc.ts";
import type { dashboardSettings } from "./settings.ts";
import type { StatusJson } from "./shapes.ts";
import { Store } from "./store.ts";

export type DashboardSettings = SettingValues<typeof dashboardSettings>;

export interface Dashboard {
  url: string;
  close(): Promise<void>;
}

interface Contracts {
  chainId: bigint;
  market: Hex;
  registry: Hex;
  token: Hex;
  lotSeconds: number;
}

const SERIALS_MS = 5_000;
const marketAbi = new Interface(EnergyMarketAbi);
const registryAbi = new Interface(MeterRegistryAbi);

/**
 * Starts the page's server: it listens at once with what its store holds, and catches up with the chain meanwhile.
 * @throws BijuliError rpc-unreachable, wrong-chain, bad-market, other-chain, bad-folder, port-in-use
 */
export async function startDashboard(settings: DashboardSettings, log: Logger): Promise<Dashboard> {
  const rpc = new Rpc(settings.RPC_URL, settings.RPC_TIMEOUT_MS);
  const bundled = bundlePage();
  bundled.catch(() => {});
  const contracts = await askContracts(rpc, settings);
  const clock = openClock(settings.BIJULI_CLOCK);
  const store = new Store(settings.DATA_DIR);
  let follower: Follower | undefined;
  try {
    store.claim(`${contracts.chainId}/${contracts.market}/${settings.START_BLOCK}`);
    const projection = new Projection(store, {
      lotSeconds: contracts.lotSeconds,
      unaccountedBps: settings.UNACCOUNTED_ALARM_BPS,
    });
    const queries = new Queries(store, contracts.lotSeconds);
    const neighbours = new Neighbours({
      nodeUrl: settings.NODE_URL,
      nodeToken: settings.NODE_TOKEN,
      adapterUrl: settings.ADAPTER_URL,
      adapterToken: settings.ADAPTER_TOKEN,
    });
    const events = new Events();
    follower = new Follower({
      rpc,
      store,
      projection,
      chainId: contracts.chainId,
      addresses: [contracts.market, contracts.registry],
      startBlock: settings.START_BLOCK,
      reorgDepth: settings.REORG_DEPTH,
      logRange: settings.LOG_RANGE,
      pollMs: settings.POLL_INTERVAL_MS,
      log,
      onChange: (feeders) => events.changed(feeders),
    });
    const following = follower;
    const metrics = new Metrics(following, store, () => events.viewers);
    const demo =
      settings.DEMO_URL === undefined || settings.DEMO_TOKEN === undefined
        ? undefined
        : new DemoProxy(settings.DEMO_URL, settings.DEMO_TOKEN);
    const status = (): StatusJson => ({
      chainId: contracts.chainId.toString(),
      market: contracts.market,
      registry: contracts.registry,
      token: contracts.token,
      lotSeconds: contracts.lotSeconds,
      now: clock.nowMs(),
      speed: clock.started() ? 1 / clock.realMs(1) : 0,
      head: following.head ?? null,
      followed: following.followed,
      problems: [
        ...(following.failure === undefined ? [] : [explain(following.failure)]),
        ...neighbours.problems.values(),
      ],
      node: neighbours.hasNode,
      adapter: neighbours.hasAdapter,
      demo: demo !== undefined,
      unaccountedAlarmBps: settings.UNACCOUNTED_ALARM_BPS,
      contradictions: neighbours.contradictions,
    });
    const bills = new Bills(rpc, contracts.registry, settings.START_BLOCK);
    const app = buildApp({
      assets: await bundled,
      queries,
      neighbours,
      events,
      metrics,
      demo,
      status,
      health: () => (following.failure === undefined ? [] : [explain(following.failure)]),
      ready: () => following.caughtUp,
      chainPrice: async (feeder, lot) => {
        const data = marketAbi.encodeFunctionData("pricePerKWh", [feeder, lot]);
        // At the block that is shown: a node that is behind knows none, instead of a price of nothing.
        const at = `0x${following.followed.toString(16)}`;
        try {
          return BigInt(await rpc.call<Hex>("eth_call", [{ to: contracts.market, data }, at])).toString();
        } catch {
          return null;
        }
      },
      bill: (request, response) => bills.answer(request, response),
      log,
    });
    const server = app.listen(settings.DASHBOARD_PORT, settings.DASHBOARD_HOST);
    await listening(server, settings);
    following.start();
    const serials = setInterval(() => void learnSerials(), SERIALS_MS);
    const learnSerials = async () => {
      const readers = await neighbours.readers();
      try {
        queries.learnSerials([...readers].map(([meterId, { serial }]) => ({ meterId, serial })));
      } catch (error) {
        // A full disk: names can wait, and what is stored can still be shown.
        log.warn({ err: error }, `serials are not kept: ${explain(error)}`);
      }
    };
    void learnSerials();
    const { port } = server.address() as AddressInfo;
    const host = settings.DASHBOARD_HOST.includes(":") ? `[${settings.DASHBOARD_HOST}]` : settings.DASHBOARD_HOST;
    return {
      url: `http://${host}:${port}`,
      close: async () => {
        clearInterval(serials);
        events.close();
        const closed = new Promise((resolve) => server.close(resolve));
        server.closeIdleConnections();
        setTimeout(() => server.closeAllConnections(), 1_000).unref();
        await following.close();
        await closed;
        store.close();
      },
    };
  } catch (error) {
    await follower?.close();
    store.close();
    throw error;
  }
}

async function askContracts(rpc: Rpc, settings: DashboardSettings): Promise<Contracts> {
  const market = settings.MARKET_ADDRESS.toLowerCase() as Hex;
  const chainId = BigInt(await rpc.call<Hex>("eth_chainId"));
  if (settings.CHAIN_ID !== undefined && settings.CHAIN_ID !== chainId)
    throw new BijuliError("wrong-chain", `RPC_URL serves chain ${chainId}, CHAIN_ID says ${settings.CHAIN_ID}`);
  const ask = async <T>(abi: Interface, to: Hex, name: string): Promise<T> => {
    const data = abi.encodeFunctionData(name, []);
    try {
      return abi.decodeFunctionResult(name, await rpc.call<Hex>("eth_call", [{ to, data }, "latest"]))[0] as T;
    } catch (cause) {
      if (cause instanceof BijuliError && cause.code === "rpc-unreachable") throw cause;
      throw new BijuliError("bad-market", `there is no EnergyMarket at ${market} on chain ${chainId}`, {
        cause,
        remedy: "look at MARKET_ADDRESS: it stands in the deployment's address book",
      });
    }
  };
  const registry = (await ask<Hex>(marketAbi, market, "registry")).toLowerCase() as Hex;
  const token = (await ask<Hex>(marketAbi, market, "token")).toLowerCase() as Hex;
  const lotSeconds = Number(await ask<bigint>(registryAbi, registry, "lotSeconds"));
  return { chainId, market, registry, token, lotSeconds };
}

async function listening(server: Server, settings: DashboardSettings): Promise<void> {
  try {
    await once(server, "listening");
  } catch (cause) {
    const inUse = (cause as NodeJS.ErrnoException).code === "EADDRINUSE";
    throw new BijuliError(
      "port-in-use",
      `${settings.DASHBOARD_HOST}:${settings.DASHBOARD_PORT} ${inUse ? "is in use" : "cannot be listened on"}`,
      { cause, remedy: "set DASHBOARD_PORT or DASHBOARD_HOST" },
    );
  }
}
