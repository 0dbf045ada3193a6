import { BijuliError } from "@bijuli/protocol";
import { SensorFault } from "../sensor.ts";

/** Where a Modbus meter is: on a serial line, behind Modbus TCP, or RTU frames through a plain TCP converter. */
export type ModbusAddress =
  | { device: string; baud: number; parity: "none" | "even" | "odd"; stopBits: 1 | 2 }
  | { host: string; port: number; framing: "tcp" | "rtu" };

export interface ModbusLinkOptions {
  address: ModbusAddress;
  /** 1 … 247. */
  unit: number;
  timeoutMs: number;
}

/** The part of modbus-serial that is used here. */
interface ModbusClient {
  on(event: "error", listener: () => void): void;
  setTimeout(ms: number): void;
  setID(unit: number): void;
  connectRTUBuffered(device: string, options: object): Promise<void>;
  connectTelnet(host: string, options: { port: number }): Promise<void>;
  connectTCP(host: string, options: { port: number }): Promise<void>;
  readInputRegisters(register: number, count: number): Promise<{ buffer: Buffer }>;
  close(done: () => void): void;
  destroy(done: () => void): void;
}

/** Exceptions that another try does not mend: function, address or value are not this device's. */
const LASTING = new Set([1, 2, 3]);

/** A master on a Modbus line, with one slave. */
export class ModbusLink {
  readonly name: string;
  readonly #options: ModbusLinkOptions;
  #client: ModbusClient | undefined;

  constructor(options: ModbusLinkOptions) {
    this.#options = options;
    const { address, unit } = options;
    const at = "device" in address ? address.device : `${address.host}:${address.port}`;
    this.name = `unit ${unit} on ${at}`;
  }

  /**
   * Connects, anew if it was connected: what a slow slave still says to an older question is thrown away with the old
   * connection, for RTU frames do not say which question they answer.
   * @throws SensorFault absent when there is no connection; BijuliError no-modbus when the line cannot be used at all
   */
  async open(): Promise<void> {
    await this.close();
    const { address, unit, timeoutMs } = this.#options;
    const client = await modbusClient();
    // A connection that breaks shows in the next request.
    client.on("error", () => {});
    client.setTimeout(timeoutMs);
    client.setID(unit);
    const connect =
      "device" in address
        ? client.connectRTUBuffered(address.device, {
            baudRate: address.baud,
            parity: address.parity,
            stopBits: address.stopBits,
          })
        : address.framing === "rtu"
          ? client.connectTelnet(address.host, { port: address.port })
          : client.connectTCP(address.host, { port: address.port });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error("timed out")), timeoutMs);
    });
    try {
      await Promise.race([connect, late]);
      this.#client = client;
    } catch (cause) {
      connect.catch(() => {});
      client.destroy(() => {});
      throw this.#unreachable(cause as Error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Input registers (function 4), as bytes. @throws SensorFault when no usable answer comes */
  async readInput(register: number, count: number): Promise<Buffer> {
    if (this.#client === undefined) throw new SensorFault("absent", `${this.name} is not connected`);
    try {
      return (await this.#client.readInputRegisters(register, count)).buffer;
    } catch (cause) {
      // The frames of a broken exchange must not be taken for those of the next one.
      await this.close();
      const { message, modbusCode: code } = cause as Error & { modbusCode?: number };
      if (code === undefined) {
        throw new SensorFault("absent", `${this.name} gives no usable answer (${message.toLowerCase()})`, cause);
      }
      throw new SensorFault(
        LASTING.has(code) ? "wrong-chip" : "absent",
        `${this.name} refuses registers ${register} to ${register + count - 1} (exception ${code})${LASTING.has(code) ? ": is it another meter?" : ""}`,
        cause,
      );
    }
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    if (client === undefined) return;
    // A socket that is gone already never tells that it was closed.
    await Promise.race([
      new Promise<void>((resolve) => client.close(() => resolve())),
      new Promise<void>((resolve) => setTimeout(resolve, 100).unref()),
    ]);
  }

  #unreachable(cause: Error): Error {
    const { address } = this.#options;
    if (!("device" in address)) {
      return new SensorFault("absent", `${this.name} cannot be reached (${cause.message || "no connection"})`, cause);
    }
    if (/permission|access/i.test(cause.message)) {
      return new BijuliError("no-modbus", `${address.device} is not permitted`, {
        cause,
        remedy: "add the reader's user to the group dialout",
      });
    }
    return new SensorFault("absent", `${address.device} cannot be opened (${cause.message})`, cause);
  }
}

/** The library is loaded when a meter needs it. */
async function modbusClient(): Promise<ModbusClient> {
  try {
    // Its types know the class only as a default within the default.
    const loaded = (await import("modbus-serial")) as unknown as { default: new () => ModbusClient };
    return new loaded.default();
  } catch (cause) {
    throw new BijuliError("no-modbus", "the library modbus-serial cannot be loaded", { cause, remedy: "npm install" });
  }
}
