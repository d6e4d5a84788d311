// Meters: how much of a limit is taken, and which of several jobs may take of it next. A job may pass several meters at
// once: the queue's cap, the product's budget, a key that it declares. It takes of all of them or of none.
//
// Invariants
//  1. Jobs are judged in score order, each against what the ones before it have left.
//  2. What is granted together fits every meter together.
//  3. A job that waits at a meter takes nothing of the others: it keeps nobody from passing them.

/** Upper bounds; null where there is none. Cost in millionths of a US dollar. */
export interface MeterLimits {
  readonly jobsMax: number | null;
  readonly costMax: number | null;
  readonly tokensMax: number | null;
}

export const noLimits: MeterLimits = { jobsMax: null, costMax: null, tokensMax: null };

/** What is taken of a meter: by leases that are open and, of a budget, by what its window has spent. */
export interface MeterLevel {
  readonly meterId: number;
  /** For people: what it meters, like "queue:shop/mail". */
  readonly target: string;
  readonly limits: MeterLimits;
  readonly jobs: number;
  readonly cost: number;
  readonly tokens: number;
  /** Of the jobs' room, so much is kept for critical jobs. */
  readonly promised: number;
  /** When a window turns, if nothing else makes room before; null when nothing turns. */
  readonly turnsAtMs: number | null;
}

/** A level, with what only some of those who read it need. */
export interface ReadLevel extends MeterLevel {
  readonly tenantId: number;
  /** Of the gate; null for a declared key. */
  readonly type: number | null;
  readonly windowBeganAtMs: number | null;
  /** Of seats: critical jobs may take them from others. */
  readonly isPreemptive: boolean;
  /** Of a budget: how much of a ceiling must be taken before operators are told, and which of it they were told. */
  readonly alertPercent: number | null;
  readonly isWarned: boolean;
  readonly isExhausted: boolean;
  /** Of what is taken, what the window has spent. */
  readonly spentCost: number;
  readonly spentTokens: number;
}

/** A job that wants to start. */
export interface MeterAsk {
  readonly jobId: string;
  readonly score: number;
  readonly isCritical: boolean;
  readonly cost: number;
  readonly tokens: number;
  /** In the order in which they are asked. */
  readonly meterIds: readonly number[];
  /** How many jobs may be in flight on a meter, as the job itself declares. */
  readonly declared: { readonly meterId: number; readonly jobsMax: number | null } | null;
}

export type Admission =
  | { readonly type: "granted" }
  | {
      readonly type: "refused";
      readonly meterId: number;
      /** For people. */
      readonly reason: string;
      readonly untilMs: number | null;
    };

interface Taken {
  jobs: number;
  cost: number;
  tokens: number;
  promised: number;
}

/**
 * Which jobs may start. A meter that an ask names and that is not among the levels does not limit it.
 *
 * @returns by job id
 */
export function admit(
  levels: ReadonlyMap<number, MeterLevel>,
  asks: readonly MeterAsk[],
): ReadonlyMap<string, Admission> {
  const taken = new Map<number, Taken>();
  for (const { meterId, jobs, cost, tokens, promised } of levels.values())
    taken.set(meterId, { jobs, cost, tokens, promised });
  const admissions = new Map<string, Admission>();
  for (const ask of [...asks].sort((a, b) => b.score - a.score || (a.jobId < b.jobId ? -1 : 1))) {
    const refusal = refusalOf(levels, taken, ask);
    admissions.set(ask.jobId, refusal ?? { type: "granted" });
    if (refusal) continue;
    for (const meterId of ask.meterIds) {
      const level = taken.get(meterId);
      if (!level) continue;
      level.jobs += 1;
      if (ask.isCritical) level.promised = Math.max(level.promised - 1, 0);
      level.cost += ask.cost;
      level.tokens += ask.tokens;
    }
  }
  return admissions;
}

function refusalOf(
  levels: ReadonlyMap<number, MeterLevel>,
  taken: ReadonlyMap<number, Taken>,
  ask: MeterAsk,
): Admission | null {
  for (const meterId of ask.meterIds) {
    const level = levels.get(meterId);
    const now = taken.get(meterId);
    if (!level || !now) continue;
    const over = overdrawn(level, now, ask);
    if (over === null) continue;
    return {
      type: "refused",
      meterId,
      reason: atLimit(level, over),
      untilMs: level.turnsAtMs,
    };
  }
  return null;
}

/** Which limit the ask would pass; null when it fits. A limit that is reached lets nothing pass, whatever it asks for. */
function overdrawn(
  level: MeterLevel,
  taken: Readonly<Taken>,
  ask: Pick<MeterAsk, "isCritical" | "cost" | "tokens" | "declared">,
): string | null {
  const { costMax, tokensMax } = level.limits;
  const jobsMax = jobsLimit(level, ask);
  const promised = ask.isCritical ? 0 : taken.promised;
  if (jobsMax !== null && taken.jobs + promised + 1 > jobsMax) return `${jobsMax} jobs in flight`;
  if (costMax !== null && (taken.cost >= costMax || taken.cost + ask.cost > costMax))
    return `${dollars(costMax)} US dollars`;
  if (tokensMax !== null && (taken.tokens >= tokensMax || taken.tokens + ask.tokens > tokensMax))
    return `${tokensMax} tokens`;
  return null;
}

/** The lower of what an operator set and what the job declares; null when neither did. */
export function jobsLimit({ meterId, limits }: MeterLevel, { declared }: Pick<MeterAsk, "declared">) {
  const own = declared?.meterId === meterId ? declared.jobsMax : null;
  if (own === null || limits.jobsMax === null) return own ?? limits.jobsMax;
  return Math.min(own, limits.jobsMax);
}

/** Why nothing at all may pass, however little it asks for; null when something may. */
export function fullReason(level: MeterLevel): string | null {
  const nothing = { isCritical: true, cost: 0, tokens: 0, declared: null };
  const over = overdrawn(level, level, nothing);
  return over === null ? null : atLimit(level, over);
}

export function isFull(level: MeterLevel): boolean {
  return fullReason(level) !== null;
}

function atLimit({ target }: MeterLevel, limit: string): string {
  return `${target} is at its limit of ${limit}`;
}

/**
 * How many jobs that wait at a meter may come back, the best first: as many from the first on as fit together. One that
 * does not fit yet is not passed by those behind it.
 */
export function fittingFrom(level: MeterLevel, waiting: readonly MeterAsk[]): number {
  const levels = new Map([[level.meterId, level]]);
  const admissions = admit(levels, waiting);
  const first = waiting.findIndex(({ jobId }) => admissions.get(jobId)?.type !== "granted");
  return first < 0 ? waiting.length : first;
}

/** Millionths of a dollar as a decimal text, without a float in between. */
export function dollars(microUsd: number): string {
  const text = String(Math.abs(microUsd)).padStart(7, "0");
  const fraction = text.slice(-6).replace(/0{1,4}$/, "");
  return `${microUsd < 0 ? "-" : ""}${text.slice(0, -6)}.${fraction}`;
}
