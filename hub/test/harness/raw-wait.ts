import { setTimeout as sleep } from "node:timers/promises";

const waitMs = 25_000;

/** The first answer that is not undefined, null or false; looks a few times a second. */
export async function until<Answer>(
  look: () => Promise<Answer | undefined | null | false> | Answer | undefined | null | false,
  what: string,
  limitMs = waitMs,
): Promise<Answer> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const answer = await look();
    if (answer !== undefined && answer !== null && answer !== false) return answer;
    if (performance.now() > deadline) throw new Error(`still not, after ${limitMs} ms: ${what}`);
    await sleep(20);
  }
}
