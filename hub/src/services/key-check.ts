import type { Ledger } from "../ledger/ledger.js";
import { Rounds } from "./rounds.js";

const intervalMs = 5_000;

/**
 * Ends watches and streams of signals whose key was revoked on another hub, without a message that says so, or has
 * expired. Sessions need no such check: each renewal looks at its key.
 */
export class KeyCheck {
  readonly #ledger: Pick<Ledger, "readGoodKeys">;
  readonly #keysInUse: () => readonly string[];
  readonly #end: (keyId: string) => void;
  readonly #rounds: Rounds;

  constructor(
    ledger: Pick<Ledger, "readGoodKeys">,
    keysInUse: () => readonly string[],
    end: (keyId: string) => void,
    onError: (error: unknown) => void,
  ) {
    this.#ledger = ledger;
    this.#keysInUse = keysInUse;
    this.#end = end;
    this.#rounds = new Rounds(() => this.#round(), intervalMs, onError);
  }

  start(): void {
    this.#rounds.start();
  }

  checkNow(): void {
    this.#rounds.hurry();
  }

  async stop(): Promise<void> {
    await this.#rounds.stop();
  }

  async #round(): Promise<void> {
    const keyIds = this.#keysInUse();
    if (keyIds.length === 0) return;
    const good = await this.#ledger.readGoodKeys(keyIds);
    for (const keyId of keyIds) if (!good.has(keyId)) this.#end(keyId);
  }
}
