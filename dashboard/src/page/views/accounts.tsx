import type { AccountJson } from "../../server/shapes.ts";
import { money } from "../format.ts";
import { More } from "../more.tsx";
import { usePages } from "../pages.ts";
import { nameOf, Table, Tag, Title, Waiting } from "../pieces.tsx";
import { link } from "../router.ts";

/** Who takes part, and how their ether stands. */
export function Accounts() {
  const list = usePages<AccountJson>("./api/accounts?limit=100", "after", ({ account }) => String(account), 5_000);
  if (list.items === undefined) return <Waiting error={list.error} what="the accounts" />;
  return (
    <>
      <Title about="Prepaid ether in the market. What an account cannot pay becomes arrears; nobody else's ether is touched.">
        Accounts
      </Title>
      <Table caption="All accounts" hidden head={["Meter", "Account ›", "Role", "Feeder", "Balance ›", "Arrears ›"]}>
        {list.items.map((account) => (
          <tr key={account.account}>
            <th scope="row">
              <a href={link("account", account.account)}>{nameOf(account)}</a>
            </th>
            <td class="number">{account.account}</td>
            <td>{account.role}</td>
            <td>{account.feederName}</td>
            <td class="number">{money(account.balance)}</td>
            <td class="number">{account.owed === "0" ? "–" : <Tag tone="poor">{money(account.owed)}</Tag>}</td>
          </tr>
        ))}
      </Table>
      <More list={list} what="accounts" />
    </>
  );
}
