// What hubs and rate gates say to each other. A hub draws a chunk of tokens, one per start, that is good for a fraction
// of a second; it settles each chunk by saying what it left unused, and tells what became of the work meanwhile.
//
// Invariants
//  1. A hub uses a chunk no longer than `chunkLifeMs` after it asked, so a chunk is dead at its hub before the ledger
//     forgets it, `chunkKeptMs` after it was granted.
//  2. What was unused comes back only while the ledger remembers the chunk, and once: a token is never there twice.

/** For how long a hub may use a chunk, from the moment at which it asked. */
export const chunkLifeMs = 400;
/** For how long the ledger counts a chunk as unspent, and takes its rest back. */
export const chunkKeptMs = 2_000;

/** Tokens that were granted and that some hub may still use. */
export interface OpenChunk {
  readonly chunk: number;
  readonly tokens: number;
  readonly keptUntilMs: number;
}

/** A chunk that its hub will not use any more. */
export interface SettledChunk {
  readonly chunk: number;
  readonly unused: number;
  /** How long ago it was used up, or ended. */
  readonly endedAgoMs: number;
}

/** What became of work behind a gate since a hub told last. */
export interface Samples {
  /** The service was reached and answered, be it with a refusal. */
  readonly answered: number;
  /** It was not, or it was broken. */
  readonly failed: number;
  /** It asked to slow down. */
  readonly throttled: number;
  /** The longest that it asked to wait from now on, milliseconds. */
  readonly waitMs: number;
  /** Of which turn of a breaker `answered` and `failed` are. */
  readonly turn: number;
}

export const noSamples: Samples = { answered: 0, failed: 0, throttled: 0, waitMs: 0, turn: 0 };

export interface RateAsk {
  /** 0 when there is only something to tell. */
  readonly wanted: number;
  readonly settled: readonly SettledChunk[];
  readonly samples: Samples;
  /** Uniform in [0, 1). */
  readonly random: number;
}

/** What a hub got. */
export interface Drawn {
  readonly chunk: { readonly chunk: number; readonly tokens: number; readonly lifeMs: number } | null;
  /** Nothing has to be drawn until the gate turns. */
  readonly isFree: boolean;
  /** From when on asking again is worth it, by the ledger's clock; null: at any time. */
  readonly nextAtMs: number | null;
  /** For people: why there is no more. */
  readonly reason: string;
  /** Turns of a breaker so far; 0 of other gates. */
  readonly turn: number;
  /** The phase that a breaker went into by this very draw. */
  readonly turnedTo: "closed" | "open" | "half_open" | null;
}

/** What chunks a gate remembers. */
export interface Chunks {
  readonly last: number;
  readonly open: readonly OpenChunk[];
}

export const noChunks: Chunks = { last: 0, open: [] };

/** Tokens that went out of sight: from then on no hub could use them. */
export interface EndedChunk {
  readonly tokens: number;
  readonly endedAtMs: number;
}

export interface Settlement {
  readonly chunks: Chunks;
  /** Tokens that come back. */
  readonly returned: number;
  /** What is not remembered any longer, in order of its end. */
  readonly ended: readonly EndedChunk[];
}

/** Forgets what is settled or too old. */
export function settleChunks(
  { last, open }: Chunks,
  settled: readonly SettledChunk[],
  nowMs: number,
): Settlement {
  const told = new Map(settled.map((one) => [one.chunk, one]));
  const kept: OpenChunk[] = [];
  const ended: EndedChunk[] = [];
  let returned = 0;
  for (const one of open) {
    const end = told.get(one.chunk);
    if (nowMs >= one.keptUntilMs) ended.push({ tokens: one.tokens, endedAtMs: one.keptUntilMs });
    else if (end) {
      ended.push({ tokens: one.tokens, endedAtMs: nowMs - Math.max(0, end.endedAgoMs) });
      returned += Math.min(Math.max(end.unused, 0), one.tokens);
    } else kept.push(one);
  }
  ended.sort((a, b) => a.endedAtMs - b.endedAtMs);
  return { chunks: { last, open: kept }, returned, ended };
}

export function grantChunk({ last, open }: Chunks, tokens: number, nowMs: number): Chunks {
  if (tokens === 0) return { last, open };
  return {
    last: last + 1,
    open: [...open, { chunk: last + 1, tokens, keptUntilMs: nowMs + chunkKeptMs }],
  };
}

/** Tokens that hubs may still use, as far as the ledger knows. */
export function tokensOut({ open }: Chunks): number {
  return open.reduce((sum, one) => sum + one.tokens, 0);
}
