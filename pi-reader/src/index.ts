export { AdapterClient, type AdapterClientOptions, type KnownLot } from "./adapterClient.ts";
export { type AuditIdentity, type AuditReport, audit } from "./audit.ts";
export { type Course, CourseSource, measureLot, type Step } from "./course.ts";
export { storedLots, storeIdentity } from "./exportFile.ts";
export { checkKnownLot, recoverLots } from "./knownLot.ts";
export { LiveSource, type LiveSourceOptions, type Timebase } from "./liveSource.ts";
export { FEMTOJOULES_PER_UNIT, type LotMeasurement, type Spread } from "./measurement.ts";
export { MAX_LOTS_A_READING, Meter, type MeterOptions, type ServedReading, servedReadingToJson } from "./meter.ts";
export { openSource } from "./openSource.ts";
export { Pusher } from "./pusher.ts";
export { loadReplay, parseTime, type Replay } from "./replay.ts";
export { type Sensor, SensorFault, type SensorSample } from "./sensor.ts";
export { isLoopback, lotToJson, readerServer } from "./server.ts";
export { readerSettings } from "./settings.ts";
export { keySigner, type Signer } from "./signer.ts";
export type { NextSigner, SignerSince } from "./signerHistory.ts";
export {
  parseSimulation,
  Simulation,
  type SimulationOptions,
  simulatedPower,
  simulationOptions,
} from "./simulation.ts";
export type { LiveValues, PartHealth, Source } from "./source.ts";
export { type ClosedLot, Store } from "./store.ts";
export type { SwitchHistory } from "./switches.ts";
