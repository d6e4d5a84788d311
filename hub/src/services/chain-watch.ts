import { digestOfSeal, type Seal } from "../domain/audit.js";
import type { ReadSigned } from "../domain/audit-check.js";
import { Fault } from "../domain/fault.js";
import type { Unsealed } from "../ledger/audit.js";
import type { Ledger } from "../ledger/ledger.js";

const sealsPerRead = 500;

interface Seen {
  readonly tenant: string;
  readonly number: number;
  readonly seal: string;
}

/**
 * What a hub has seen of each tenant's chain. A ledger whose chain does not go on from there was changed by hand, and the
 * hub lends its signature to no other history.
 */
export class ChainWatch {
  readonly #ledger: Pick<Ledger, "readSealTexts">;
  readonly #read: ReadSigned;
  readonly #seen = new Map<number, Seen>();
  readonly #idByName = new Map<string, number>();

  constructor(ledger: Pick<Ledger, "readSealTexts">, read: ReadSigned) {
    this.#ledger = ledger;
    this.#read = read;
  }

  /** Number of the newest seal that was seen of a tenant; 0 for none. */
  seen(tenantId: number): number {
    return this.#seen.get(tenantId)?.number ?? 0;
  }

  /**
   * The chain as it was just read must go on from what was seen, seal by seal. Of one that was not seen yet only its newest
   * seal is looked at.
   *
   * @throws Fault HISTORY_CHANGED
   */
  async follow(tenantId: number, { tenant, last, seen: held }: Unsealed): Promise<void> {
    const seen = this.#seen.get(tenantId);
    const known = seen?.tenant ?? tenant;
    if (known !== tenant) throw changed(known, `it is called ${tenant} now`);
    if ((this.#idByName.get(tenant) ?? tenantId) !== tenantId)
      throw changed(tenant, "another has its name now");
    if (seen && held !== seen.seal)
      throw changed(tenant, `seal ${seen.number}, ${digestOfSeal(seen.seal)}, is not in the ledger any more`);
    let at = seen ?? { number: Math.max(0, last.number - 1), seal: "" };
    while (at.number < last.number) {
      const limit = Math.min(sealsPerRead, last.number - at.number);
      const seals = await this.#ledger.readSealTexts(tenantId, at.number + 1, limit);
      if (seals.length === 0) throw changed(tenant, `seal ${at.number + 1} is missing`);
      for (const next of seals) {
        await this.#check(tenant, at, next);
        at = next;
      }
    }
    if (last.number > 0) this.made(tenantId, { tenant, ...last });
  }

  /** This hub has made the tenant's newest seal. */
  made(tenantId: number, seal: Seen): void {
    this.#seen.set(tenantId, seal);
    this.#idByName.set(seal.tenant, tenantId);
  }

  async #check(
    tenant: string,
    before: Pick<Seen, "number" | "seal">,
    next: Pick<Seen, "number" | "seal">,
  ): Promise<void> {
    const number = before.number + 1;
    if (next.number !== number) throw changed(tenant, `seal ${number} is missing`);
    const seal = (await this.#read(next.seal, "holdfast-seal").catch(() => null)) as Seal | null;
    const previous = before.seal === "" ? null : digestOfSeal(before.seal);
    const isNext =
      seal?.number === number &&
      seal.tenant === tenant &&
      seal.previous === (previous ?? (number === 1 ? "" : seal.previous));
    if (!isNext) throw changed(tenant, `seal ${number} does not follow the one before it`);
  }
}

function changed(tenant: string, why: string): Fault {
  return new Fault(
    "HISTORY_CHANGED",
    `The sealed history of tenant ${tenant} was changed in the ledger: ${why}. This hub seals nothing more of it until it is restarted.`,
    { tenant },
  );
}
