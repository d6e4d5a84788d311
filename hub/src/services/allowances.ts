// Every hub's part of every rate gate. One draw is on its way at a time, for all gates that are due: however many gates
// there are and however fast jobs flow, the ledger is asked a few times a second.
import { type Gate, isRateGate, type RateGate } from "../domain/gate.js";
import type { Drawn } from "../domain/rate-draw.js";
import type { GateDraw } from "../ledger/draw-rates.js";
import type { Ledger } from "../ledger/ledger.js";
import { Allowance, type SentAsk } from "./allowance.js";

export interface AllowanceHooks {
  /** Something may start that had to wait. */
  readonly granted: () => void;
  readonly drawn: (type: RateGate["type"], granted: number, returned: number) => void;
  /** This hub's draw turned a breaker. */
  readonly turned: (gate: RateGate, drawn: Drawn) => void;
  readonly failed: (error: unknown) => void;
}

const gatesPerDrawMax = 200;
/** What is due so soon goes with what is due now. */
const togetherMs = 10;

export class Allowances {
  readonly #ledger: Pick<Ledger, "drawRates">;
  readonly #hooks: AllowanceHooks;
  readonly #byGate = new Map<number, Allowance>();
  /** Those that something is to be done about at some time. */
  readonly #restless = new Set<Allowance>();
  readonly #onRestless = (allowance: Allowance) => {
    this.#restless.add(allowance);
    this.#wakeSoon();
  };
  #timer: NodeJS.Timeout | undefined;
  #isWaking = false;
  #drawing: Promise<void> | undefined;
  #isStopped = false;

  constructor(ledger: Pick<Ledger, "drawRates">, hooks: AllowanceHooks) {
    this.#ledger = ledger;
    this.#hooks = hooks;
  }

  /** The gates as they are by now. */
  adopt(gates: Iterable<Gate>): void {
    const nowMs = performance.now();
    const standing = new Set<number>();
    for (const gate of gates) {
      if (!isRateGate(gate)) continue;
      standing.add(gate.gateId);
      const known = this.#byGate.get(gate.gateId);
      if (known) known.adopt(gate, nowMs);
      else this.#byGate.set(gate.gateId, new Allowance(gate, nowMs, this.#onRestless));
    }
    for (const [gateId, allowance] of this.#byGate) {
      if (standing.has(gateId)) continue;
      this.#byGate.delete(gateId);
      this.#restless.delete(allowance);
    }
  }

  get(gateId: number): Allowance | undefined {
    return this.#byGate.get(gateId);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#drawing;
  }

  #wakeSoon(): void {
    if (this.#isWaking || this.#isStopped) return;
    this.#isWaking = true;
    queueMicrotask(() => {
      this.#isWaking = false;
      this.#wake();
    });
  }

  #wake(): void {
    if (this.#isStopped) return;
    clearTimeout(this.#timer);
    const nowMs = performance.now();
    const due: Allowance[] = [];
    let nextMs = Number.POSITIVE_INFINITY;
    let isStepped = false;
    for (const allowance of this.#restless) {
      isStepped = allowance.takeStep(nowMs) || isStepped;
      const dueMs = allowance.dueAt(nowMs);
      const changesMs = allowance.changesAt();
      if (dueMs <= nowMs + togetherMs) due.push(allowance);
      else nextMs = Math.min(nextMs, dueMs);
      nextMs = Math.min(nextMs, changesMs);
      if (dueMs === Number.POSITIVE_INFINITY && changesMs === Number.POSITIVE_INFINITY)
        this.#restless.delete(allowance);
    }
    if (isStepped) this.#hooks.granted();
    if (due.length > 0 && this.#drawing === undefined) {
      this.#drawing = this.#draw(due.slice(0, gatesPerDrawMax)).finally(() => {
        this.#drawing = undefined;
        this.#wakeSoon();
      });
    }
    if (nextMs !== Number.POSITIVE_INFINITY)
      this.#timer = setTimeout(() => this.#wake(), Math.max(1, Math.ceil(nextMs - nowMs)));
  }

  async #draw(due: readonly Allowance[]): Promise<void> {
    const sent = due.map((allowance) => ({
      allowance,
      one: allowance.send(performance.now(), Math.random()),
    }));
    let draws: readonly GateDraw[];
    try {
      draws = await this.#ledger.drawRates(
        sent.map(({ allowance: { gateId }, one: { ask } }) => ({ gateId, ask })),
      );
    } catch (error) {
      for (const { allowance, one } of sent) allowance.failed(one);
      this.#hooks.failed(error);
      return;
    }
    for (const [at, { allowance, one }] of sent.entries()) this.#heed(allowance, one, draws[at] as GateDraw);
    this.#hooks.granted();
  }

  #heed(allowance: Allowance, one: SentAsk, draw: GateDraw): void {
    if (draw === "gone") return;
    if (draw === "busy") return allowance.failed(one);
    const unused = one.ask.settled.reduce((sum, chunk) => sum + chunk.unused, 0);
    this.#hooks.drawn(allowance.gate.type, draw.chunk?.tokens ?? 0, unused);
    allowance.answered(one, draw, performance.now());
    if (draw.turnedTo !== null) this.#hooks.turned(allowance.gate, draw);
  }
}
