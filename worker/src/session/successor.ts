import type { Client } from "@grpc/grpc-js";
import { type HubAccess, reachHub } from "../grpc/hub-channel.js";
import type { AddressRing } from "./address-ring.js";

/** The hub that a worker moves to: reached before the present one is left, so that it never leaves for nowhere. */
export class Successor {
  readonly #access: HubAccess;
  readonly #ring: AddressRing;
  #reached: { readonly address: string; readonly client: Client } | undefined;

  constructor(access: HubAccess, ring: AddressRing) {
    this.#access = access;
    this.#ring = ring;
  }

  /** Reaches the first of the other hubs that answers and makes it the next of the ring, if it is still wanted then. */
  async seek(withinMs: number, isWanted: () => boolean): Promise<void> {
    const { others } = this.#ring;
    for (const address of others) {
      const client = await reachHub(this.#access, address, withinMs / others.length);
      if (!isWanted()) return client?.close();
      if (client === undefined) continue;
      this.#reached = { address, client };
      return this.#ring.reserve(address);
    }
  }

  /** Hands over the connection to this hub, if it is the one that was reached. */
  take(address: string): Client | undefined {
    const reached = this.#reached;
    this.#reached = undefined;
    if (reached?.address === address) return reached.client;
    reached?.client.close();
    return undefined;
  }

  close(): void {
    this.#reached?.client.close();
    this.#reached = undefined;
  }
}
