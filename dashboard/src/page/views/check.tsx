import { Title } from "../pieces.tsx";

export function Check() {
  return <Title about="Not here yet.">Check a bill</Title>;
}
