import type { Piece } from "./integrator.ts";

/** Pieces one after another, kept as one; cut, it gives energy in proportion to time. */
class Bundle implements Piece {
  readonly fromNs: bigint;
  toNs: bigint;
  samples: number;
  voltage: bigint | undefined;
  current: bigint | undefined;
  power: bigint | undefined;
  forward: bigint;
  reverse: bigint;

  constructor(piece: Piece) {
    this.fromNs = piece.fromNs;
    this.toNs = piece.toNs;
    this.samples = piece.samples;
    this.voltage = piece.voltage;
    this.current = piece.current;
    this.power = piece.power;
    this.forward = piece.forwardUntil(piece.toNs);
    this.reverse = piece.reverseUntil(piece.toNs);
  }

  append(piece: Piece): void {
    this.toNs = piece.toNs;
    this.samples += piece.samples;
    this.voltage = piece.voltage;
    this.current = piece.current;
    this.power = piece.power;
    this.forward += piece.forwardUntil(piece.toNs);
    this.reverse += piece.reverseUntil(piece.toNs);
  }

  forwardUntil(ns: bigint): bigint {
    return (this.forward * (ns - this.fromNs)) / (this.toNs - this.fromNs);
  }

  reverseUntil(ns: bigint): bigint {
    return (this.reverse * (ns - this.fromNs)) / (this.toNs - this.fromNs);
  }
}

const MOST = 16_384;
const FINEST_NS = 1_000_000_000n;

/**
 * Energy that waits for a trustworthy clock to be told its lot. It is bounded: pieces are bundled by the second, and
 * ever coarser the longer it takes; the sum stays exact.
 */
export class Backlog {
  #bundles: Bundle[] = [];
  #spanNs = FINEST_NS;

  add(piece: Piece): void {
    const last = this.#bundles.at(-1);
    if (last !== undefined && last.toNs === piece.fromNs && piece.toNs - last.fromNs <= this.#spanNs)
      last.append(piece);
    else this.#bundles.push(new Bundle(piece));
    if (this.#bundles.length > MOST) this.#coarsen();
  }

  /** Everything, oldest first; the backlog is empty afterwards. */
  drain(): Piece[] {
    const pieces = this.#bundles;
    this.#bundles = [];
    this.#spanNs = FINEST_NS;
    return pieces;
  }

  get size(): number {
    return this.#bundles.length;
  }

  /** Femtojoules waiting. */
  get energy(): { forward: bigint; reverse: bigint } {
    let forward = 0n;
    let reverse = 0n;
    for (const bundle of this.#bundles) {
      forward += bundle.forward;
      reverse += bundle.reverse;
    }
    return { forward, reverse };
  }

  #coarsen(): void {
    this.#spanNs *= 2n;
    const bundles: Bundle[] = [];
    for (const bundle of this.#bundles) {
      const last = bundles.at(-1);
      if (last !== undefined && last.toNs === bundle.fromNs && bundle.toNs - last.fromNs <= this.#spanNs)
        last.append(bundle);
      else bundles.push(bundle);
    }
    this.#bundles = bundles;
  }
}
