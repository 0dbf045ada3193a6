export { type Course, CourseSource, measureLot, type Step } from "./course.ts";
export { FEMTOJOULES_PER_UNIT, type LotMeasurement, type Spread } from "./measurement.ts";
export { MAX_LOTS_A_READING, Meter, type MeterOptions, type ServedReading, servedReadingToJson } from "./meter.ts";
export { openSource } from "./openSource.ts";
export { loadReplay, parseTime, type Replay } from "./replay.ts";
export { isLoopback, lotToJson, readerServer } from "./server.ts";
export { readerSettings } from "./settings.ts";
export { keySigner, type Signer } from "./signer.ts";
export {
  parseSimulation,
  Simulation,
  type SimulationOptions,
  simulatedPower,
  simulationOptions,
} from "./simulation.ts";
export type { LiveValues, PartHealth, Source } from "./source.ts";
export { type ClosedLot, Store } from "./store.ts";
