import { BijuliError } from "@bijuli/protocol";
import { z } from "zod";
import { decimalProblem, parseMicro } from "../decimal.ts";
import type { Sensor } from "../sensor.ts";
import { Ads1115, type Ads1115Options } from "./ads1115.ts";
import { hexAddress, type I2cBus } from "./bus.ts";
import { Eastron } from "./eastron.ts";
import { Ina219, type Ina219Options } from "./ina219.ts";
import { Ina226, type Ina226Options } from "./ina226.ts";
import { Ina228, type Ina228Options } from "./ina228.ts";
import { ModbusLink } from "./modbusLink.ts";

const address = (low: number, high: number) =>
  z
    .union([
      z.int(),
      z
        .string()
        .regex(/^0x[0-9a-f]{1,2}$/i, "must be like 0x40")
        .transform(Number),
    ])
    .pipe(
      z
        .int()
        .refine((value) => value >= low && value <= high, `must be from ${hexAddress(low)} to ${hexAddress(high)}`),
    );

/** A decimal as text or number, in millionths. */
const text = z.union([z.string(), z.number().transform(String)], {
  error: ({ input }) => (input === undefined ? "is missing" : 'must be a decimal, such as "0.002"'),
});
const micro = text.transform((text, context) => {
  const problem = decimalProblem(text);
  if (problem === undefined) return parseMicro(text);
  context.addIssue({ code: "custom", message: problem });
  return z.NEVER;
});
const positive = micro.refine((value) => value > 0n, "must be above zero");
const bus = z.int().min(0).max(255).default(1);
/** Ohms; nΩ inside. */
const shuntOhms = positive.transform((microohms) => microohms * 1000n);
const averages = z.literal([1, 4, 16, 64, 128, 256, 512, 1024]);
const input = {
  channel: z.literal([0, 1, 2, 3, "0-1", "0-3", "1-3", "2-3"]),
  range: z.literal([6144, 4096, 2048, 1024, 512, 256]).default(4096),
};

const shapes = {
  ina219: z.strictObject({
    bus,
    address: address(0x40, 0x4f).default(0x40),
    shuntOhms,
    busRange: z.literal([16, 32]).default(32),
    shuntRange: z.literal([40, 80, 160, 320]).default(320),
    averages: z.literal([1, 2, 4, 8, 16, 32, 64, 128]).default(128),
  }),
  ina226: z.strictObject({
    bus,
    address: address(0x40, 0x4f).default(0x40),
    shuntOhms,
    averages: averages.default(64),
    conversion: z.literal([140, 204, 332, 588, 1100, 2116, 4156, 8244]).default(1100),
  }),
  ina228: z.strictObject({
    bus,
    address: address(0x40, 0x4f).default(0x40),
    shuntOhms,
    shuntRange: z.literal([164, 41]).default(164),
    averages: averages.default(64),
    conversion: z.literal([50, 84, 150, 280, 540, 1052, 2074, 4120]).default(1052),
  }),
  ads1115: z.strictObject({
    bus,
    address: address(0x48, 0x4b).default(0x48),
    rate: z.literal([8, 16, 32, 64, 128, 250, 475, 860]).default(128),
    voltage: z.strictObject({ ...input, voltsPerVolt: positive.default(1_000_000n) }),
    current: z.strictObject({ ...input, amperesPerVolt: positive, zeroVolts: micro.default(0n) }),
  }),
  modbus: z
    .strictObject({
      meter: z.enum(["sdm120", "sdm630"]),
      unit: z.int().min(1).max(247).default(1),
      forward: z.enum(["import", "export"]).default("import"),
      timeoutMs: z.int().min(50).max(10_000).default(1000),
      device: z.string().startsWith("/", "must be a path like /dev/ttyUSB0").optional(),
      baud: z.literal([1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200]).default(9600),
      parity: z.enum(["none", "even", "odd"]).default("none"),
      stopBits: z.literal([1, 2]).default(1),
      host: z.string().min(1).optional(),
      port: z.int().min(1).max(65_535).default(502),
      framing: z.enum(["tcp", "rtu"]).default("tcp"),
    })
    .refine(({ device, host }) => (device === undefined) !== (host === undefined), {
      error: "needs either device (a serial line) or host (Modbus TCP)",
    }),
};

/** The sensors that READER_SOURCE can name, each with JSON options. */
export const SENSOR_KINDS = Object.keys(shapes) as (keyof typeof shapes)[];

/** Whether READER_SOURCE names a sensor. */
export const isSensorKind = (kind: string): kind is keyof typeof shapes => Object.hasOwn(shapes, kind);

/**
 * The sensor that READER_SOURCE=kind:{…} names, not opened yet.
 * @throws BijuliError bad-source, naming the first option that is wrong
 */
export async function openSensor(
  kind: keyof typeof shapes,
  json: string,
  openBus: (number: number) => Promise<I2cBus>,
): Promise<Sensor> {
  let value: unknown;
  try {
    value = JSON.parse(json === "" ? "{}" : json);
  } catch (cause) {
    throw new BijuliError("bad-source", `${kind}: the options are not JSON`, { cause });
  }
  const parse = <T>(shape: z.ZodType<T>): T => {
    const parsed = shape.safeParse(value);
    if (parsed.success) return parsed.data;
    const { issues } = parsed.error;
    // A slip of the pen shows twice: as an unknown option, and as the one that is missing for it.
    const issue = issues.find(({ code }) => code === "unrecognized_keys") ?? issues[0]!;
    throw new BijuliError("bad-source", `${kind}: ${[issue.path.join("."), issue.message].filter(Boolean).join(": ")}`);
  };
  switch (kind) {
    case "ina219": {
      const { bus: number, shuntOhms: shunt, ...rest } = parse(shapes.ina219);
      return new Ina219(await openBus(number), { ...rest, shunt } as Ina219Options);
    }
    case "ina226": {
      const { bus: number, shuntOhms: shunt, ...rest } = parse(shapes.ina226);
      return new Ina226(await openBus(number), { ...rest, shunt } as Ina226Options);
    }
    case "ina228": {
      const { bus: number, shuntOhms: shunt, ...rest } = parse(shapes.ina228);
      return new Ina228(await openBus(number), { ...rest, shunt } as Ina228Options);
    }
    case "modbus": {
      const { meter, unit, forward, timeoutMs, device, baud, parity, stopBits, host, port, framing } = parse(
        shapes.modbus,
      );
      const address =
        device === undefined ? { host: host!, port, framing } : { device, baud, parity, stopBits: stopBits as 1 | 2 };
      return new Eastron(new ModbusLink({ address, unit, timeoutMs }), { meter, forward });
    }
    case "ads1115": {
      const { bus: number, address: at, rate, voltage, current } = parse(shapes.ads1115);
      return new Ads1115(await openBus(number), {
        address: at,
        rate,
        voltage: { channel: voltage.channel, range: voltage.range, scale: voltage.voltsPerVolt },
        current: {
          channel: current.channel,
          range: current.range,
          scale: current.amperesPerVolt,
          zero: current.zeroVolts,
        },
      } as Ads1115Options);
    }
  }
}
