/** What a sensor measured in one cycle, in millionths. */
export interface SensorSample {
  voltage?: bigint | undefined;
  current?: bigint | undefined;
  /** µW, positive towards the load. */
  power: bigint;
  /** The values are means over this long before the moment of reading; 0 for an instant. */
  windowNs: bigint;
  /** What the sensor's own counters count, where a calibration has changed the values above. */
  uncalibrated?: { current?: bigint | undefined; power: bigint };
}

/** What a sensor has counted by itself, which goes on while nobody reads it. */
export interface Counters {
  /** Femtojoules; a counter that knows no direction counts |power|. */
  energy: { forward: bigint; reverse: bigint } | { absolute: bigint };
  /** µA · ns, signed. */
  charge?: bigint;
  /** Femtojoules of one count: what it cannot tell. */
  step: bigint;
  /** It begins again at zero after as many femtojoules. */
  wrap?: bigint;
  /** The charge goes on at −chargeWrap / 2 after chargeWrap / 2. */
  chargeWrap?: bigint;
  /** True when it began anew since it was last asked. */
  restarted: boolean;
}

/**
 * Something that measures power. `sample` throws a SensorFault for what a meter must survive: a chip that does not
 * answer, was reset or is out of range.
 */
export interface Sensor {
  /** What /identity shows: kind, bus, address, configuration; no secrets. */
  readonly description: Readonly<Record<string, unknown>> & { readonly kind: string };
  /** The time that a sample takes: a chip's averaging window. Left out where it is short. */
  readonly windowMs?: number;
  /** True where power is measured by itself and is not voltage × current, as on an AC line. */
  readonly measuresPower?: boolean;
  /**
   * Finds the chip and configures it.
   * @throws SensorFault when it does not answer or is another one
   */
  open(): Promise<void>;
  sample(): Promise<SensorSample>;
  /** The sensor's own counters, where it has any; asked rarely. @throws SensorFault as sample does */
  counters?(): Promise<Counters>;
  close(): Promise<void>;
}

/** - absent: no answer; wrong-chip: another one answers; reset: lost its configuration; range: beyond what it can measure; invalid: values that cannot be */
export type FaultKind = "absent" | "wrong-chip" | "reset" | "range" | "invalid";

/** A sensor's trouble, with what to do about it. */
export class SensorFault extends Error {
  override readonly name = "SensorFault";
  readonly kind: FaultKind;

  constructor(kind: FaultKind, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
  }
}
