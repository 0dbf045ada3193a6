import type { NodeSettings } from "../settings.ts";

/** Where state and queue lie. */
export interface Places {
  /** Of the embedded PostgreSQL. */
  folder: string;
  /** postgres://…; undefined: the embedded one. */
  databaseUrl: string | undefined;
  /** redis://… in one of its forms; undefined: the queue lies in the database. */
  redisUrl: string | undefined;
}

export function placesOf(settings: Pick<NodeSettings, "QUEUE_URL" | "DATABASE_URL" | "DATA_DIR">): Places {
  const queue = settings.QUEUE_URL;
  const redisUrl = queue !== undefined && /^rediss?(\+\w+)?:\/\//.test(queue) ? queue : undefined;
  const postgres = queue !== undefined && /^postgres(ql)?:\/\//.test(queue) ? queue : undefined;
  const folder = queue !== undefined && redisUrl === undefined && postgres === undefined ? queue : settings.DATA_DIR;
  return { folder, databaseUrl: settings.DATABASE_URL ?? postgres, redisUrl };
}
