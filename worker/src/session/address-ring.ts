/** The hubs of a worker's list, gone round one after the other. */
export class AddressRing {
  readonly #addresses: readonly string[];
  #at = 0;
  #reserved: string | undefined;

  constructor(addresses: readonly string[]) {
    this.#addresses = addresses;
  }

  get size(): number {
    return this.#addresses.length;
  }

  get current(): string {
    return this.#addresses[this.#at] as string;
  }

  /** The others, in the order in which they would be tried. */
  get others(): string[] {
    return [...this.#addresses.slice(this.#at + 1), ...this.#addresses.slice(0, this.#at)];
  }

  /** The next step goes there. */
  reserve(address: string): void {
    this.#reserved = address;
  }

  advance(): void {
    const reserved = this.#reserved === undefined ? -1 : this.#addresses.indexOf(this.#reserved);
    this.#at = reserved >= 0 ? reserved : (this.#at + 1) % this.#addresses.length;
    this.#reserved = undefined;
  }
}

/**
 * The addresses in an order drawn anew (Fisher and Yates): workers with the same list spread over all hubs, and those
 * of a hub that is gone over all that are left.
 *
 * @param random from 0 up to, but not including, 1
 */
export function shuffled(addresses: readonly string[], random: () => number): string[] {
  const order = [...addresses];
  for (let last = order.length - 1; last > 0; last--) {
    const at = Math.floor(random() * (last + 1));
    [order[last], order[at]] = [order[at] as string, order[last] as string];
  }
  return order;
}
