import { BijuliError } from "@bijuli/protocol";
import { Cluster, Redis } from "ioredis";

/** A connection for BullMQ, and the prefix of its keys. */
export interface RedisConnection {
  client: Redis | Cluster;
  /** On a Cluster all keys of a queue have to lie in one slot: the braces say which part of a key decides that. */
  prefix: string;
}

const FORM = /^redis(s)?(?:\+(cluster|sentinel))?:\/\/(?:([^:@/]*)(?::([^@/]*))?@)?([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/;

/**
 * Connects to Redis:
 *
 *   redis://user:password@host:6379/0              one server (rediss: with TLS)
 *   redis+sentinel://user:password@h1,h2/name/0    the master that the Sentinels know by that name; ?sentinelPassword=
 *   redis+cluster://user:password@h1,h2            a Cluster, found through any of its nodes
 *
 * @throws BijuliError bad-settings, or queue-unreachable
 */
export async function connectRedis(url: string): Promise<RedisConnection> {
  const connection = redisOf(url);
  const { client } = connection;
  client.on("error", () => {}); // BullMQ reports it
  try {
    await client.connect();
  } catch (cause) {
    client.disconnect();
    throw new BijuliError("queue-unreachable", "Redis cannot be reached", { cause, remedy: "look at QUEUE_URL" });
  }
  return connection;
}

function redisOf(url: string): RedisConnection {
  const match = FORM.exec(url);
  if (match === null) throw new BijuliError("bad-settings", "QUEUE_URL (secret) is not a Redis address");
  const [, secure, kind, user, secret, hosts = "", path = "", query = ""] = match;
  const tls = secure === undefined ? {} : { tls: {} };
  const login = {
    ...(user ? { username: decodeURIComponent(user) } : {}),
    ...(secret ? { password: decodeURIComponent(secret) } : {}),
  };
  const common = { maxRetriesPerRequest: null, lazyConnect: true };
  if (kind === "cluster") {
    const client = new Cluster(addresses(hosts, 6379), {
      lazyConnect: true,
      redisOptions: { ...login, ...tls, maxRetriesPerRequest: null },
    });
    return { client, prefix: "{bijuli}" };
  }
  if (kind === "sentinel") {
    const [name = "", db = "0"] = path.split("/");
    if (name === "")
      throw new BijuliError("bad-settings", "QUEUE_URL (secret) names no Sentinel master after its hosts");
    const sentinelPassword = new URLSearchParams(query).get("sentinelPassword");
    const client = new Redis({
      ...common,
      ...login,
      ...tls,
      ...(secure === undefined ? {} : { enableTLSForSentinelMode: true, sentinelTLS: {} }),
      ...(sentinelPassword === null ? {} : { sentinelPassword }),
      sentinels: addresses(hosts, 26_379),
      name,
      db: Number(db),
    });
    return { client, prefix: "bull" };
  }
  return { client: new Redis(url, common), prefix: "bull" };
}

function addresses(hosts: string, otherwise: number): { host: string; port: number }[] {
  return hosts.split(",").map((one) => {
    const [, bracketed, host, port] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(one.trim()) ?? [];
    if (bracketed === undefined && host === undefined)
      throw new BijuliError("bad-settings", "QUEUE_URL (secret) has a host that is none");
    return { host: (bracketed ?? host)!, port: port === undefined ? otherwise : Number(port) };
  });
}
