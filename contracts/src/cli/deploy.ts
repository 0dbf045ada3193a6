#!/usr/bin/env node
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { BijuliError, ExitCode, type Hex, isHex } from "@bijuli/protocol";
import { formatEther, type JsonRpcProvider } from "ethers";
import { compile } from "../../scripts/compile.ts";
import {
  type AddressBook,
  type DeploymentRecord,
  readDeployment,
  writeAddressBook,
} from "../deployment/address-book.ts";
import { type DeployOptions, deploy, deployBy } from "../deployment/deploy.ts";
import { ERC1820_COST, ERC1820_SENDER, hasErc1820 } from "../deployment/erc1820.ts";
import { DryHand } from "../deployment/hand.ts";
import { keepCompilerInput } from "../deployment/source-verification.ts";
import { verifyDeployment } from "../deployment/verify.ts";
import { chosenNetwork, NETWORK_OPTIONS } from "./chosen-network.ts";
import { main, say } from "./command.ts";
import { connect, withoutSecrets } from "./connection.ts";
import { openKey } from "./key.ts";
import { isDevelopmentChain, type Network } from "./networks.ts";

const HELP = `bijuli deploy --network NAME [options]

Deploys the contracts to any network, or goes on where an earlier run stopped, and compares what is there with what was
compiled. Writes the address book deployments/NAME.json after every step and, for source verification, the compiler's
input to deployments/NAME/. A run that finds everything in place sends nothing.

  --network NAME       a network of the networks file, or "local" (http://127.0.0.1:8545)
  --networks FILE      that file (bijuli.networks.json): {"NAME": {"rpcUrl", "chainId", "link"?, "operator"?,
                       "nodes"?, "confirmations"?, "lotSeconds"?}}; an rpcUrl may be "env:VARIABLE"
  --rpc-url URL        without such a file, or instead of its rpcUrl
  --chain-id ID        refuse any other chain

  --keystore FILE      the deploying key, encrypted; its password from the file that BIJULI_KEYSTORE_PASSWORD_FILE
                       names, or asked for. Without it: DEPLOYER_KEY from the environment.
  --admin ADDRESS      the regulator, the AccessManager's first admin (the deploying account)
  --node ADDRESS       an oracle node's sending account, which may fulfil through the Operator; may be repeated
  --lot-seconds N      the length of a lot (300), fixed for ever
  --link ADDRESS       the chain's own LINK token
  --test-link          deploy a LINK token of our own, which is worth nothing (on development chains: the default)
  --operator ADDRESS   a Chainlink Operator that is there already, instead of one of our own

  --confirmations N    blocks to wait for after each transaction (1)
  --timeout SECONDS    how long to wait for one (600)
  --book FILE          the address book, instead of deployments/NAME.json
  --fresh              begin a new deployment; the address book that is there is kept beside it
  --dry-run            send nothing: print what would be sent, with gas estimates (--from ADDRESS stands in for a key)
  --json               the address book on stdout; with --dry-run, the plan

Exit codes: 0 done, 1 failed or not as it should be, 2 wrong usage or configuration, 75 try again later.
`;

const options = {
  ...NETWORK_OPTIONS,
  admin: { type: "string" },
  node: { type: "string", multiple: true },
  "lot-seconds": { type: "string" },
  link: { type: "string" },
  "test-link": { type: "boolean" },
  operator: { type: "string" },
  confirmations: { type: "string" },
  timeout: { type: "string" },
  fresh: { type: "boolean" },
  "dry-run": { type: "boolean" },
  from: { type: "string" },
} as const;

const secrets = new Map<string, string>();

async function run(args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const { values } = parseArgs({ args, options, strict: true, allowPositionals: false });
  if (values.help) {
    process.stdout.write(HELP);
    return ExitCode.OK;
  }
  const { network, bookFile } = chosenNetwork(values, env, secrets);
  const wanted = {
    admin: addressOption("admin", values.admin),
    nodes: [...network.nodes, ...(values.node ?? []).map((node) => addressOption("node", node)!)],
    lotSeconds: numberOption("lot-seconds", values["lot-seconds"], 86_400) ?? network.lotSeconds,
    link: addressOption("link", values.link) ?? network.link,
    operator: addressOption("operator", values.operator) ?? network.operator,
    confirmations: numberOption("confirmations", values.confirmations, 100) ?? network.confirmations,
    timeoutMs: (numberOption("timeout", values.timeout, 86_400) ?? 600) * 1000,
  };
  const from = addressOption("from", values.from);
  if (wanted.link && values["test-link"]) throw usage("--link and --test-link exclude each other");
  if (from && !values["dry-run"]) throw usage("--from is for --dry-run: a deployment needs a key");

  // Locked before it is read: what another run adds to it must not be missed.
  const release = values["dry-run"] ? () => {} : lock(bookFile);
  const provider = await connect(network).catch((error) => {
    release();
    throw error;
  });
  try {
    const earlier = readDeployment(bookFile);
    const setOff = values.fresh && earlier !== undefined;
    const record = setOff ? undefined : earlier;
    const { chainId } = await provider.getNetwork();
    refuseTestLink(chainId, wanted.link, values["test-link"] ?? false);
    await checkRecord(provider, bookFile, record, chainId);
    if ((await compile()) === "compiled") say("the contracts have been compiled");

    const dryFrom = from ?? (record?.deployment.deployer as Hex | undefined);
    const keyless = values["dry-run"] && !values.keystore && !env.DEPLOYER_KEY && dryFrom;
    const wallet = keyless
      ? undefined
      : await openKey({ keystore: values.keystore, network: network.name, chainId }, "DEPLOYER_KEY", env);
    const deployer = (wallet?.address ?? dryFrom) as Hex;
    if (record && !record.deployment.complete && record.deployment.deployer !== deployer) {
      throw new BijuliError("bad-key", `${bookFile} was begun by ${record.deployment.deployer}, this is ${deployer}`, {
        remedy: "go on with the same key, or begin anew with --fresh",
      });
    }
    say(`${network.name}: chain ${chainId} at ${withoutSecrets(network.rpcUrl)}, deploying with ${deployer}`);

    const request: DeployOptions = {
      ...wanted,
      lotSeconds: wanted.lotSeconds ?? record?.lotSeconds ?? 300,
      record,
    };
    const plan = await planOf(provider, deployer, request);
    if (values["dry-run"]) return print(plan, values.json ?? false);
    if (!record?.deployment.pending) await checkFunds(provider, deployer, plan);

    if (setOff) setAside(bookFile);
    const kept = await carryOut(provider, wallet!.connect(provider), request, bookFile);
    const nothing = plan.steps.length === 0 && record?.deployment.complete;
    return await conclude(provider, kept, request, bookFile, network, nothing ?? false, values.json ?? false);
  } finally {
    provider.destroy();
    release();
  }
}

// -------------------------------------------------------------------------------------------- before

function refuseTestLink(chainId: bigint, link: Hex | undefined, testLink: boolean): void {
  if (link || testLink || isDevelopmentChain(chainId)) return;
  throw usage(
    `chain ${chainId} is no development chain: name its LINK token with --link (or link in the networks file), or --test-link`,
  );
}

async function checkRecord(
  provider: JsonRpcProvider,
  file: string,
  record: DeploymentRecord | undefined,
  chainId: bigint,
): Promise<void> {
  if (!record) return;
  if (record.chainId !== chainId.toString()) {
    throw new BijuliError(
      "wrong-chain",
      `${file} is a deployment on chain ${record.chainId}, this is chain ${chainId}`,
    );
  }
  const genesis = await genesisOf(provider);
  if (genesis && record.deployment.genesis && genesis !== record.deployment.genesis) {
    throw new BijuliError("wrong-chain", `${file} is a deployment on another chain with the id ${chainId}`, {
      remedy: "--fresh begins a new one here",
    });
  }
}

const genesisOf = (provider: JsonRpcProvider) =>
  provider
    .getBlock(0)
    .then((block) => block?.hash ?? undefined)
    .catch(() => undefined);

interface Plan {
  steps: DryHand["steps"];
  gas: bigint;
  gasPrice: bigint;
  wei: bigint;
}

/** What a run would send now. */
async function planOf(provider: JsonRpcProvider, from: Hex, request: DeployOptions): Promise<Plan> {
  const hand = new DryHand(provider, from);
  await deployBy(hand, provider, request);
  const { steps } = hand;
  const fees = await provider.getFeeData();
  const gasPrice = fees.maxFeePerGas ?? fees.gasPrice ?? 0n;
  const gas = steps.reduce((sum, step) => sum + step.gas, 0n);
  let wei = gas * gasPrice;
  if (!(await hasErc1820(provider))) {
    const missing = ERC1820_COST - (await provider.getBalance(ERC1820_SENDER));
    wei += missing > 0n ? missing : 0n;
  }
  return { steps, gas, gasPrice, wei };
}

function print(plan: Plan, json: boolean): number {
  const text = ({ step, gas, address }: Plan["steps"][number]) =>
    `${`${gas}`.padStart(10)} gas  ${step}${address ? ` at ${address}` : ""}\n`;
  if (json) {
    const steps = plan.steps.map((step) => ({ ...step, gas: `${step.gas}` }));
    const total = { gas: `${plan.gas}`, gasPrice: `${plan.gasPrice}`, wei: `${plan.wei}` };
    process.stdout.write(`${JSON.stringify({ steps, ...total })}\n`);
  } else if (plan.steps.length === 0) {
    process.stdout.write("nothing would be sent: everything is there\n");
  } else {
    process.stdout.write(plan.steps.map(text).join(""));
    const price = `${plan.gasPrice} wei a gas`;
    process.stdout.write(`about ${plan.gas} gas, at most ${formatEther(plan.wei)} ether at ${price}\n`);
  }
  return ExitCode.OK;
}

async function checkFunds(provider: JsonRpcProvider, deployer: Hex, plan: Plan): Promise<void> {
  const [balance, mined, known] = await Promise.all([
    provider.getBalance(deployer),
    provider.getTransactionCount(deployer, "latest"),
    provider.getTransactionCount(deployer, "pending"),
  ]);
  if (plan.steps.length === 0) return;
  if (balance < plan.wei) {
    throw new BijuliError(
      "no-funds",
      `${deployer} has ${formatEther(balance)} ether, and about ${formatEther(plan.wei)} are needed`,
      { remedy: "send it ether, run again" },
    );
  }
  if (known > mined) {
    throw new BijuliError("account-busy", `${deployer} has ${known - mined} transactions that are not mined yet`, {
      remedy: "run again when they are",
    });
  }
}

// -------------------------------------------------------------------------------------------- the deployment

interface Kept {
  book: AddressBook;
  record: DeploymentRecord;
}

async function carryOut(
  provider: JsonRpcProvider,
  wallet: Parameters<typeof deploy>[0],
  request: DeployOptions,
  file: string,
): Promise<Kept> {
  const genesis = await genesisOf(provider);
  let record = request.record;
  let written = record && JSON.stringify(record);
  const save = (next: DeploymentRecord) => {
    record = { ...next, deployment: { ...next.deployment, ...(genesis && { genesis }) } };
    const text = JSON.stringify(record);
    if (text !== written) writeAddressBook(file, record);
    written = text;
  };
  const book = await deploy(wallet, { ...request, save, progress: say });
  return { book, record: record! };
}

async function conclude(
  provider: JsonRpcProvider,
  { book, record }: Kept,
  request: DeployOptions,
  file: string,
  network: Network,
  nothing: boolean,
  json: boolean,
): Promise<number> {
  const by = record.deployment;
  const given = { link: request.link, operator: request.operator };
  const checks = await verifyDeployment(provider, book, {
    ...given,
    admin: request.admin ?? by.admin,
    nodes: request.nodes,
  });
  const problems = checks.filter(({ problem }) => problem !== undefined);
  for (const { what, problem } of problems) say(`NOT AS IT SHOULD BE: ${what}: ${problem}`);
  if (problems.length > 0) return ExitCode.FATAL;

  const folder = file.replace(/\.json$/, "");
  const count = keepCompilerInput(folder, book, by, given);
  say(nothing ? `nothing to do: ${file} is complete` : `deployed: the address book is ${file}`);
  say(`verified against the chain: ${checks.length} facts; compiler input of ${count} contracts in ${folder}`);
  if (request.nodes.length === 0) say("no oracle node may fulfil through the Operator by this run: --node ADDRESS");
  if (json) process.stdout.write(`${JSON.stringify(book)}\n`);
  else say(`next: npx bijuli feeder --network ${network.name} create NAME`);
  return ExitCode.OK;
}

/**
 * Two runs would overwrite each other's address book. A run that was killed leaves its lock: it holds its process id.
 * @returns what releases it
 */
function lock(file: string): () => void {
  const path = `${file}.lock`;
  mkdirSync(dirname(path), { recursive: true });
  for (;;) {
    try {
      writeFileSync(path, `${process.pid}\n`, { flag: "wx" });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const holder = holderOf(path);
    if (holder !== undefined) {
      throw new BijuliError("account-busy", `${file} is being written by process ${holder}`, {
        remedy: `wait for it; if there is no such run, remove ${path}`,
      });
    }
    rmSync(path, { force: true });
  }
}

function holderOf(path: string): number | undefined {
  try {
    const pid = Number(readFileSync(path, "utf8"));
    if (!Number.isInteger(pid) || pid <= 0 || pid === process.pid) return undefined;
    process.kill(pid, 0);
    return pid;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM" ? -1 : undefined;
  }
}

/** The address book that is there stays, under the first free number. */
function setAside(file: string): void {
  let number = 1;
  while (existsSync(`${file}.${number}`)) number++;
  renameSync(file, `${file}.${number}`);
  say(`the earlier address book is ${file}.${number} now`);
}

// -------------------------------------------------------------------------------------------- options

const usage = (message: string) => new BijuliError("usage", message, { remedy: "--help says more" });

function addressOption(name: string, value: string | undefined): Hex | undefined {
  if (value === undefined) return undefined;
  if (!isHex(value, 20)) throw usage(`--${name} ${JSON.stringify(value)} must be an address: 0x and 40 hex digits`);
  return value;
}

function numberOption(name: string, value: string | undefined, most: number): number | undefined {
  if (value === undefined) return undefined;
  if (!/^[1-9][0-9]{0,9}$/.test(value) || Number(value) > most) {
    throw usage(`--${name} ${JSON.stringify(value)} must be a whole number, 1 to ${most}`);
  }
  return Number(value);
}

await main(() => run(process.argv.slice(2), process.env), secrets);
