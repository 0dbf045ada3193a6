const HEIGHT = 100;
/** How much of the height all ribbons together take where they meet. */
const BUNDLE = 56;
const THINNEST = 0.5;

/**
 * Bands as wide as what flows through them: on one side bundled at the distributor, on the other spread over the cards,
 * which share the height evenly. Shares are parts of what was sent, 0 … 1.
 */
export function Ribbons({ from, kinds, direction }: { from: number[]; kinds: string[]; direction: "in" | "out" }) {
  const widths = from.map((share) => Math.max(share * BUNDLE, share > 0 ? THINNEST : 0));
  let at = (HEIGHT - widths.reduce((sum, width) => sum + width, 0)) / 2;
  const bands = widths.map((width, i) => {
    const bundled = at + width / 2;
    at += width;
    const spread = ((i + 0.5) / from.length) * HEIGHT;
    const [a, b] = direction === "in" ? [spread, bundled] : [bundled, spread];
    return { width, path: band(a, b, width), kind: kinds[i]!, id: i };
  });
  return (
    <svg class="ribbons" viewBox={`0 0 100 ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      {bands.map(({ path, kind, id }) => (
        <path key={id} class={kind} d={path} />
      ))}
    </svg>
  );
}

function band(from: number, to: number, width: number): string {
  const half = width / 2;
  return `M0 ${from - half} C50 ${from - half} 50 ${to - half} 100 ${to - half} V${to + half} C50 ${to + half} 50 ${from + half} 0 ${from + half} Z`;
}
