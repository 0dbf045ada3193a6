export { type RunningAdapter, startAdapter } from "./adapter.ts";
export { ADAPTER_SETTINGS, type AdapterSettings } from "./settings.ts";
