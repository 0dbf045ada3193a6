import type { Hex } from "@bijuli/protocol";

/** How much of an energy came from one plant, in Units. */
export interface OriginShare {
  meterId: Hex;
  energy: bigint;
}

/**
 * Where an energy came from: each plant's share of what all plants sent in the lot. The network mixes, so every
 * consumer of a lot has the same mix; whole Units by the largest remainders (ties to the plant listed first), so that
 * the shares sum up to the energy.
 * @param energy Units that a consumer used in the lot
 * @param plants what each plant sent in the lot
 * @returns a share a plant; none where nothing was sent
 */
export function originOf(energy: bigint, plants: readonly OriginShare[]): OriginShare[] {
  const sent = plants.reduce((sum, plant) => sum + plant.energy, 0n);
  if (sent === 0n) return [];
  const parts = plants.map((plant, i) => {
    const product = energy * plant.energy;
    return { i, whole: product / sent, rest: product % sent };
  });
  let left = energy - parts.reduce((sum, { whole }) => sum + whole, 0n);
  for (const part of [...parts].sort((a, b) => (a.rest === b.rest ? a.i - b.i : a.rest > b.rest ? -1 : 1))) {
    if (left === 0n) break;
    part.whole += 1n;
    left -= 1n;
  }
  return parts.map(({ i, whole }) => ({ meterId: plants[i]!.meterId, energy: whole }));
}
