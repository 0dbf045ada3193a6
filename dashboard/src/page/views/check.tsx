import { isHex } from "@bijuli/protocol";
import { useState } from "preact/hooks";
import type { Bill, Verdict } from "../../evidence/index.ts";
import { lotBegin, useShared } from "../context.ts";
import { dateTime, kWh, money } from "../format.ts";
import { Fact, Hash, Title } from "../pieces.tsx";

interface Checked {
  name: string;
  verdict: Verdict;
  ms: number;
}

/** A file's text; one whose name ends in .gz is what `bijuli bill --out bill.json.gz` wrote. */
const textOf = (file: File): Promise<string> =>
  file.name.endsWith(".gz")
    ? new Response(file.stream().pipeThrough(new DecompressionStream("gzip"))).text()
    : file.text();

/** A bill's file, checked in this browser from the signatures up: nothing is sent anywhere. */
export function Check() {
  const { status } = useShared();
  const [registry, setRegistry] = useState<string>(status.registry);
  const [blockHash, setBlockHash] = useState("");
  const [checked, setChecked] = useState<Checked | undefined>(undefined);
  const [said, setSaid] = useState("");

  const bad = [
    ...(registry !== "" && !isHex(registry, 20) ? ["The registry's address is 0x and 40 hex digits."] : []),
    ...(blockHash !== "" && !isHex(blockHash, 32) ? ["The block's hash is 0x and 64 hex digits."] : []),
  ];
  const check = async (file: File | undefined) => {
    if (file === undefined) return;
    setChecked(undefined);
    setSaid(`Checking ${file.name} …`);
    try {
      // Only who checks a bill needs what checks it.
      const { verifyBill } = await import("../../evidence/index.ts");
      const began = performance.now();
      const verdict = await verifyBill(JSON.parse(await textOf(file)), {
        ...(isHex(registry, 20) ? { registry } : {}),
        ...(isHex(blockHash, 32) ? { blockHash } : {}),
      });
      setChecked({ name: file.name, verdict, ms: Math.round(performance.now() - began) });
      setSaid("");
    } catch (error) {
      setSaid(`${file.name} is no bill: ${(error as Error).message}`);
    }
  };
  /** What was checked before was held against something else. */
  const against = (set: (text: string) => void) => (text: string) => {
    setChecked(undefined);
    set(text.trim());
  };
  return (
    <>
      <Title about="A bill's evidence is made again here, from the meters' signatures and from what one block's hash proves. The file is not sent anywhere, and no server is believed.">
        Check a bill
      </Title>
      <section class="panel" aria-label="The bill and what it is held against">
        <label class="field">
          Meter registry, as its regulator published it
          <input
            type="text"
            spellcheck={false}
            value={registry}
            onInput={({ currentTarget }) => against(setRegistry)(currentTarget.value)}
          />
        </label>
        <label class="field">
          Hash of the bill's last block, from a source that you trust (a block explorer, your own node)
          <input
            type="text"
            spellcheck={false}
            placeholder="0x… ; without it, the file's own is taken and named below"
            value={blockHash}
            onInput={({ currentTarget }) => against(setBlockHash)(currentTarget.value)}
          />
        </label>
        {bad.map((line) => (
          <p class="problem" key={line}>
            {line}
          </p>
        ))}
        <label class="drop">
          <strong>The bill's file (JSON)</strong>
          <input
            type="file"
            accept=".json,.gz,application/json,application/gzip"
            disabled={bad.length > 0}
            onChange={({ currentTarget }) => {
              void check(currentTarget.files?.[0]);
              // The same file can be chosen again, to be held against another block.
              currentTarget.value = "";
            }}
          />
        </label>
      </section>
      <output class="said">{said}</output>
      <div aria-live="polite">{checked && <Result checked={checked} />}</div>
    </>
  );
}

function Result({ checked: { name, verdict, ms } }: { checked: Checked }) {
  if (!verdict.holds) {
    return (
      <section class="verdict poor">
        <h2>{name} does not hold</h2>
        <p>The first thing that does not: {verdict.first}</p>
      </section>
    );
  }
  const { bill, claimed } = verdict;
  return (
    <section class="verdict good">
      <h2>{name} holds</h2>
      <p>
        {bill.lots.length} lots, {bill.transactions.length} transactions and {bill.events.length} events, made again in{" "}
        {ms} ms.
      </p>
      <Sums bill={bill} />
      {claimed.length > 0 && (
        <ul class="findings claimed">
          {claimed.map((what) => (
            <li key={what}>
              Only the file says{" "}
              {what === "registry" ? "which registry it is" : `that block ${bill.block.number} has the hash`}:{" "}
              <code>{what === "registry" ? bill.registry : bill.block.hash}</code> Compare it yourself.
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function Sums({ bill }: { bill: Bill }) {
  const { lotSeconds, totals, money: stand } = bill;
  return (
    <>
      <p>
        Owner <Hash value={bill.owner} what="owner" /> · meter <Hash value={bill.meterId} what="meter id" />
      </p>
      <dl class="figures">
        <Fact
          name={`Account ${bill.account}, ${bill.role}`}
          note={`${dateTime(lotBegin(bill.from, lotSeconds))} to ${dateTime(lotBegin(bill.to + 1n, lotSeconds))}`}
        >
          {kWh(totals.energy)}
        </Fact>
        <Fact name="Owes">{money(totals.owes)}</Fact>
        <Fact name="Earns">{money(totals.earns)}</Fact>
        <Fact name="Balance after" note={`arrears ${money(stand.closing.owed)}`}>
          {money(stand.closing.balance)}
        </Fact>
      </dl>
    </>
  );
}
