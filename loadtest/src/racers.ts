// Who runs in a benchmark that has contestants, and in which order.
import type { Racer } from "./drain/contestant.js";
import { buildRiver, hasGo } from "./go-programs.js";
import { UsageError } from "./options.js";

/** Rows of every table that vacuum has yet to remove. */
export const deadRowsQuery = "select coalesce(sum(n_dead_tup), 0) as count from pg_stat_user_tables";

export function namesOf(racers: readonly Racer[]): string {
  return racers.map(({ name }) => name).join(", ");
}

/** @throws UsageError for a name that nobody has */
export function chooseRacers<Chosen extends Racer>(
  racers: readonly Chosen[],
  only: string | null,
): readonly Chosen[] {
  if (only === null) return racers;
  return only.split(",").map((name) => {
    const racer = racers.find((known) => known.name === name);
    if (racer) return racer;
    throw new UsageError(`--only: no contestant "${name}"; there are ${namesOf(racers)}.`);
  });
}

/**
 * Those who were chosen and can run here. River needs Go: without it, it is missing, and a note says so.
 *
 * @throws GoError when its program cannot be built
 */
export async function readyRacers<Chosen extends Racer>(
  racers: readonly Chosen[],
  only: string | null,
  log: (line: string) => void,
): Promise<{ readonly racers: readonly Chosen[]; readonly missing: readonly string[] }> {
  const chosen = chooseRacers(racers, only);
  const isRiver = ({ name }: Racer) => name === "river";
  if (!chosen.some(isRiver)) return { racers: chosen, missing: [] };
  if (await hasGo()) {
    await buildRiver(log);
    return { racers: chosen, missing: [] };
  }
  const missing = "River did not run: there is no Go on this machine to build its program with.";
  return { racers: chosen.filter((racer) => !isRiver(racer)), missing: [missing] };
}

/** Each round begins with another, so that nobody always follows the same one. */
export function turnedBy<Item>(items: readonly Item[], by: number): readonly Item[] {
  if (items.length === 0) return items;
  const from = by % items.length;
  return [...items.slice(from), ...items.slice(0, from)];
}
