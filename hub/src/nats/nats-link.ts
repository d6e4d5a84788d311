/**
 * The one connection of a process to NATS, which lanes, bus and sinks share.
 *
 *   connecting ──► up ◄──► down        any ──close──► closed
 *
 * NATS only makes things fast, so:
 * - nothing here ends the process or refuses to start: a link whose servers are away keeps trying, with jitter, for ever;
 * - what is published while the link is down is dropped and the caller told so, and so is what a connection that has
 *   stopped reading would pile up: nothing is buffered beyond `unconfirmedBytesMax`;
 * - a message that was published may be lost. Who needs it looks in the ledger when the link comes up again.
 *
 * Messages published here are not delivered to subscriptions of the same link.
 */
import { setTimeout as delay } from "node:timers/promises";
import { connect, type Msg, type NatsConnection, type Subscription } from "@nats-io/transport-node";
import { readNatsAddress } from "./nats-address.js";

export type NatsLinkState =
  | { readonly status: "connecting" }
  | { readonly status: "up"; readonly server: string; readonly connection: NatsConnection }
  | { readonly status: "down"; readonly sinceMs: number }
  | { readonly status: "closed" };

export interface NatsLinkSettings {
  /** Servers of one cluster, comma-separated; credentials and TLS as in `readNatsAddress`. */
  readonly url: string;
  /** What the server's monitoring shows this connection as. */
  readonly name: string;
  /** How long `startNatsLink` waits for the first connection before it goes on without. */
  readonly firstWaitMs: number;
  /** A lost server that says nothing is noticed after two to three of these. */
  readonly pingIntervalMs: number;
  /** Bytes published that the server has not confirmed to have read; beyond it messages are dropped. */
  readonly unconfirmedBytesMax: number;
}

export const defaultNatsLinkSettings = {
  firstWaitMs: 3_000,
  pingIntervalMs: 5_000,
  unconfirmedBytesMax: 8 * 1024 * 1024,
};

const dialTimeoutMs = 5_000;
const drainTimeoutMs = 1_000;
const redialMs = { least: 200, most: 1_000 };

/** Connects, for at most `firstWaitMs`; the link goes on trying by itself after that. */
export async function startNatsLink(
  settings: NatsLinkSettings,
  log: (line: string) => void,
): Promise<NatsLink> {
  const link = new NatsLink(settings, log);
  await link.firstAttempts;
  return link;
}

export class NatsLink {
  readonly #settings: NatsLinkSettings;
  readonly #log: (line: string) => void;
  readonly #upListeners = new Set<(connection: NatsConnection) => void>();
  readonly #downListeners = new Set<() => void>();
  readonly #subscriptions = new Set<LinkSubscription>();
  readonly #closing = new AbortController();
  readonly #dialling: Promise<void>;
  #state: NatsLinkState = { status: "connecting" };
  #connection: NatsConnection | undefined;
  #unconfirmedBytes = 0;
  #isConfirming = false;
  /** Over when the link is up, or when the first wait is. */
  readonly firstAttempts: Promise<void>;

  constructor(settings: NatsLinkSettings, log: (line: string) => void) {
    this.#settings = settings;
    this.#log = log;
    this.firstAttempts = this.#waitForFirst();
    this.#dialling = this.#keepConnected();
  }

  get state(): NatsLinkState {
    return this.#state;
  }

  /** Called with each connection, also when the link is up already; the same one comes again after a reconnect. */
  onUp(listener: (connection: NatsConnection) => void): () => void {
    this.#upListeners.add(listener);
    if (this.#state.status === "up") listener(this.#state.connection);
    return () => this.#upListeners.delete(listener);
  }

  /** Called when an established connection is lost. */
  onDown(listener: () => void): () => void {
    this.#downListeners.add(listener);
    return () => this.#downListeners.delete(listener);
  }

  /** Sends to whoever listens now. False when it was dropped; true promises nothing. */
  publish(subject: string, payload: Uint8Array | string): boolean {
    if (this.#state.status !== "up") return false;
    const { connection } = this.#state;
    const bytes = payload.length + subject.length;
    if (this.#unconfirmedBytes + bytes > this.#settings.unconfirmedBytesMax) return false;
    if (payload.length > (connection.info?.max_payload ?? 0) || connection.isClosed()) return false;
    connection.publish(subject, payload);
    this.#unconfirmedBytes += bytes;
    void this.#confirm(connection);
    return true;
  }

  /** Receives from now until the answer is called, over every connection that there will be. */
  subscribe(subject: string, hear: (message: Msg) => void): () => void {
    const subscription: LinkSubscription = { subject, hear, current: undefined };
    this.#subscriptions.add(subscription);
    if (this.#state.status === "up") this.#open(subscription, this.#state.connection);
    return () => {
      this.#subscriptions.delete(subscription);
      subscription.current?.unsubscribe();
    };
  }

  /** Sends what is on its way, if the server takes it, and ends; idempotent. */
  async close(): Promise<void> {
    const wasUp = this.#state.status === "up";
    this.#state = { status: "closed" };
    this.#closing.abort();
    const connection = this.#connection;
    // A server that reads nothing must not hold up a hub that stops.
    if (wasUp) await Promise.race([connection?.drain().catch(() => undefined), delay(drainTimeoutMs)]);
    await connection?.close();
    await this.#dialling;
  }

  async #waitForFirst(): Promise<void> {
    const { firstWaitMs } = this.#settings;
    const over = new AbortController();
    const stop = () => over.abort();
    const forget = this.onUp(stop);
    this.#closing.signal.addEventListener("abort", stop, { once: true });
    await delay(firstWaitMs, undefined, { signal: over.signal }).catch(() => undefined);
    forget();
    if (this.#state.status === "connecting")
      this.#log(
        `warning: NATS did not answer within ${firstWaitMs} ms; going on without it, slower, and trying on`,
      );
  }

  /** The client reconnects by itself; it is dialled again only if it gave up, which its options leave no reason for. */
  async #keepConnected(): Promise<void> {
    let said = "";
    while (!this.#closing.signal.aborted) {
      try {
        const connection = await this.#dial();
        said = "";
        await this.#follow(connection);
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        if (why !== said) this.#log(`warning: NATS cannot be reached: ${why}; trying on`);
        said = why;
      }
      await delay(jitterMs(), undefined, { signal: this.#closing.signal }).catch(() => undefined);
    }
  }

  async #dial(): Promise<NatsConnection> {
    return await connect({
      ...readNatsAddress(this.#settings.url),
      name: this.#settings.name,
      timeout: dialTimeoutMs,
      pingInterval: this.#settings.pingIntervalMs,
      maxPingOut: 2,
      maxReconnectAttempts: -1,
      ignoreAuthErrorAbort: true,
      reconnectDelayHandler: jitterMs,
      noEcho: true,
    });
  }

  /** Until the connection is closed for good. */
  async #follow(connection: NatsConnection): Promise<void> {
    if (this.#closing.signal.aborted) return await connection.close();
    this.#connection = connection;
    const status = connection.status();
    for (const subscription of this.#subscriptions) this.#open(subscription, connection);
    this.#turnUp(connection);
    for await (const { type } of status) {
      if (type === "disconnect" || type === "staleConnection") this.#turnDown();
      if (type === "reconnect") this.#turnUp(connection);
    }
    this.#connection = undefined;
    this.#turnDown();
  }

  #turnUp(connection: NatsConnection): void {
    if (this.#state.status === "closed") return;
    const server = connection.getServer();
    this.#unconfirmedBytes = 0;
    this.#state = { status: "up", server, connection };
    this.#log(`NATS at ${server}`);
    for (const listener of [...this.#upListeners]) listener(connection);
  }

  #turnDown(): void {
    if (this.#state.status !== "up") return;
    this.#state = { status: "down", sinceMs: performance.now() };
    this.#log("warning: NATS is away; going on without it, slower, and reconnecting");
    for (const listener of [...this.#downListeners]) listener();
  }

  #open(subscription: LinkSubscription, connection: NatsConnection): void {
    subscription.current = connection.subscribe(subscription.subject, {
      callback: (error, message) => {
        if (error) this.#log(`warning: NATS refused ${subscription.subject}: ${error.message}`);
        else subscription.hear(message);
      },
    });
  }

  /** One question at a time: when it is answered, the server has read everything that was published before it. */
  async #confirm(connection: NatsConnection): Promise<void> {
    if (this.#isConfirming) return;
    this.#isConfirming = true;
    // Publishing in one go is confirmed in one go.
    await Promise.resolve();
    const asked = this.#unconfirmedBytes;
    try {
      await connection.flush();
      this.#unconfirmedBytes = Math.max(0, this.#unconfirmedBytes - asked);
    } catch {
      // The connection was lost, and with it what was on its way; the next one begins at 0.
    }
    this.#isConfirming = false;
    if (this.#unconfirmedBytes > 0 && this.#state.status === "up") void this.#confirm(connection);
  }
}

interface LinkSubscription {
  readonly subject: string;
  readonly hear: (message: Msg) => void;
  current: Subscription | undefined;
}

function jitterMs(): number {
  return redialMs.least + Math.random() * (redialMs.most - redialMs.least);
}
