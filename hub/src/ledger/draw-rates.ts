// Draws from rate gates. The rule is a pure function of the row and of the ledger's clock, and the row is written only
// if it is still what the rule saw: no lock is held while a hub thinks, so one that stops half-way stops nobody else,
// and whoever was overtaken looks again.
import type { RateGate } from "../domain/gate.js";
import type { Drawn, RateAsk } from "../domain/rate-draw.js";
import { drawFrom } from "../domain/rate-gate.js";
import type { ReadPool } from "./read-pool.js";
import { isByKey, numberArray, toMs } from "./sql-text.js";

export interface GateAsk {
  readonly gateId: number;
  readonly ask: RateAsk;
}

/** What was drawn at which moment of the ledger's clock. */
export type TimedDraw = Drawn & { readonly nowMs: number };

/** "gone": the gate was removed. "busy": others were always faster; nothing was heeded. */
export type GateDraw = TimedDraw | "gone" | "busy";

/** As many hubs as draw from one gate at the same moment may overtake each other; beyond that, a hub waits its turn. */
const triesMax = 8;

interface SeenRow {
  readonly gate_id: number;
  readonly type: RateGate["type"];
  readonly settings: RateGate["settings"];
  /** As the ledger writes it: compared with itself, whatever numbers it holds. */
  readonly state: string;
  readonly now_ms: number;
}

const seenText = `
select gate_id, type, settings, state::text as state, ${toMs("clock_timestamp()")} as now_ms
from gate where gate_id = any($1::integer[])`;

// Rows are locked in one order, so that hubs that draw from the same gates wait for each other and never in a circle.
const writtenText = `
with locked as materialized (
  select gate_id from gate where gate_id = any($1::integer[]) order by gate_id for update
), written as (
  update gate g set state = i.after
  from unnest($1::integer[], $2::jsonb[], $3::jsonb[], $4::boolean[]) as i (gate_id, before, after, turns)
  where ${isByKey("g.gate_id", "i.gate_id")} and i.gate_id in (select gate_id from locked) and g.state = i.before
  returning g.gate_id, i.turns
), turned as (
  update gate_epoch set epoch = epoch + 1 where is_only and exists (select from written where turns)
)
select gate_id from written`;

/**
 * Draws for one hub from several gates; one answer per item, in order. A breaker that opens by this turns the epoch of
 * the gates in the same transaction: what was granted before is claimed by nobody.
 */
export async function drawRates(db: ReadPool, items: readonly GateAsk[]): Promise<readonly GateDraw[]> {
  const answers = new Map<number, GateDraw>();
  let left = new Map(items.map(({ gateId, ask }) => [gateId, ask]));
  for (let tries = 0; left.size > 0 && tries < triesMax; tries += 1) {
    const { rows } = await db.query<SeenRow>({
      name: "see_rates",
      text: seenText,
      values: [numberArray([...left.keys()])],
    });
    const seen = new Set(rows.map((row) => row.gate_id));
    for (const gateId of left.keys()) if (!seen.has(gateId)) answers.set(gateId, "gone");
    const changes: Change[] = [];
    for (const row of rows) {
      const gate = { type: row.type, settings: row.settings, state: JSON.parse(row.state) };
      const ask = left.get(row.gate_id) as RateAsk;
      const nowMs = Math.floor(row.now_ms);
      const { state, ...answer } = drawFrom(gate as RateGate, ask, nowMs);
      const timed = { ...answer, nowMs };
      // A draw that got and told nothing leaves the row alone.
      if (state === gate.state) answers.set(row.gate_id, timed);
      else
        changes.push({
          gateId: row.gate_id,
          before: row.state,
          after: JSON.stringify(state),
          answer: timed,
        });
    }
    const written = await write(db, changes);
    for (const { gateId, answer } of changes) if (written.has(gateId)) answers.set(gateId, answer);
    left = new Map([...left].filter(([gateId]) => !answers.has(gateId)));
  }
  return items.map(({ gateId }) => answers.get(gateId) ?? "busy");
}

interface Change {
  readonly gateId: number;
  readonly before: string;
  readonly after: string;
  readonly answer: TimedDraw;
}

async function write(db: ReadPool, changes: readonly Change[]): Promise<ReadonlySet<number>> {
  if (changes.length === 0) return new Set();
  const { rows } = await db.query<{ gate_id: number }>({
    name: "write_rates",
    text: writtenText,
    values: [
      numberArray(changes.map(({ gateId }) => gateId)),
      changes.map(({ before }) => before),
      changes.map(({ after }) => after),
      changes.map(({ answer }) => answer.turnedTo === "open"),
    ],
  });
  return new Set(rows.map((row) => row.gate_id));
}
