import { SensorFault } from "../sensor.ts";
import { type I2cBus, signed16 } from "./bus.ts";

/** A chip that a scan has found. */
export interface Found {
  address: number;
  kind: "ina219" | "ina226" | "ina228" | "ads1115";
  /** INA219 and ADS1115 have no identity register: they are told by their configuration after power-up. */
  certain: boolean;
}

const TI = 0x5449;

/** Looks at the addresses where the known chips can be; only reads. */
export async function scan(bus: I2cBus): Promise<Found[]> {
  const found: Found[] = [];
  const word = (address: number, register: number) =>
    bus.readWord(address, register).catch((error) => {
      if (error instanceof SensorFault) return undefined;
      throw error;
    });
  for (let address = 0x40; address <= 0x4f; address++) {
    const config = await word(address, 0x00);
    if (config === undefined) continue;
    if ((await word(address, 0x3e)) === TI && ((await word(address, 0x3f)) ?? 0) >> 4 === 0x228) {
      found.push({ address, kind: "ina228", certain: true });
    } else if ((await word(address, 0xfe)) === TI && ((await word(address, 0xff)) ?? 0) >> 4 === 0x226) {
      found.push({ address, kind: "ina226", certain: true });
    } else if (address >= 0x48 && address <= 0x4b && isAds1115(await word(address, 0x01), await word(address, 0x03))) {
      found.push({ address, kind: "ads1115", certain: false });
    } else if (isIna219(config, await word(address, 0x02))) {
      found.push({ address, kind: "ina219", certain: false });
    }
  }
  return found;
}

/** Comparator off or default, and the default high threshold. */
function isAds1115(config: number | undefined, high: number | undefined): boolean {
  return config !== undefined && (config & 0x0003) === 0x0003 && high !== undefined && signed16(high) === 0x7fff;
}

/** Bit 14 is unused and zero, the mode is continuous, and a bus voltage up to 32 V is a word up to 64,000 | 3. */
function isIna219(config: number, bus: number | undefined): boolean {
  return (config & 0xc007) === 0x0007 && bus !== undefined && bus >> 3 <= 8000;
}
