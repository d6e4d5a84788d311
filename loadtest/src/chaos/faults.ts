import { setTimeout as delay } from "node:timers/promises";
import type { World } from "./world.js";

/** One thing that goes wrong, and is mended again. */
export interface Fault {
  readonly name: string;
  readonly needsNats: boolean;
  /** Only when it is named: it takes long, and wants jobs for all the while. */
  readonly isLong?: true;
  /** Whatever waited in NATS is gone. */
  readonly wipesNats?: true;
  /** @param pick draws one of a list @returns what was hit */
  readonly strike: (world: World, pick: Pick) => Promise<string>;
}

export type Pick = <Item>(items: readonly Item[]) => Item;

const downMs = 1_000;
const longDownMs = 60_000;
/** Beyond the session's life: every session of that hub has expired or lives elsewhere. */
const frozenPerTtl = 1.5;

/** In the order in which they strike. */
export const faults: readonly Fault[] = [
  {
    name: "hub-kill",
    needsNats: false,
    strike: async ({ hubs }, pick) => {
      const hub = pick(hubs);
      await hub.kill();
      await delay(downMs);
      await hub.start();
      return `SIGKILL of ${hub.name}, started again`;
    },
  },
  {
    name: "hub-freeze",
    needsNats: false,
    strike: async ({ hubs, settings }, pick) => {
      const hub = pick(hubs);
      const frozenMs = settings.sessionTtlMs * frozenPerTtl;
      hub.freeze();
      await delay(frozenMs);
      hub.thaw();
      return `SIGSTOP of ${hub.name} for ${frozenMs / 1_000} s, sessions live for ${settings.sessionTtlMs / 1_000} s`;
    },
  },
  {
    name: "nats-kill",
    needsNats: true,
    strike: async ({ nats }, pick) => {
      const server = pick(nats?.servers ?? []);
      await server.kill();
      await delay(downMs);
      await server.start();
      return `SIGKILL of ${server.name}, started again`;
    },
  },
  {
    name: "nats-wipe",
    needsNats: true,
    wipesNats: true,
    strike: async ({ nats }) => {
      const servers = nats?.servers ?? [];
      await Promise.all(servers.map((server) => server.kill()));
      await delay(downMs);
      await Promise.all(servers.map((server) => server.start({ isWiped: true })));
      return `every NATS server killed, all its data deleted, started empty`;
    },
  },
  {
    name: "nats-down",
    needsNats: true,
    isLong: true,
    strike: async ({ nats }) => {
      const servers = nats?.servers ?? [];
      await Promise.all(servers.map((server) => server.kill()));
      await delay(longDownMs);
      await Promise.all(servers.map((server) => server.start()));
      return `every NATS server killed, started again after ${longDownMs / 1_000} s`;
    },
  },
  {
    name: "postgres-restart",
    needsNats: false,
    strike: async ({ postgres }) => {
      await postgres.restart();
      return "PostgreSQL shut down and started again";
    },
  },
];
