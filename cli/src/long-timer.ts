/** Timers of Node reach 24.8 days: one that is set for later ends at once. */
const TIMER_MS_MAX = 0x7fff_ffff;

/** Calls once, however long after; answers how to call it off. */
export function callAfter(delayMs: number, call: () => void): () => void {
  let timer: NodeJS.Timeout;
  const wait = (leftMs: number) => {
    timer =
      leftMs > TIMER_MS_MAX
        ? setTimeout(wait, TIMER_MS_MAX, leftMs - TIMER_MS_MAX)
        : setTimeout(call, leftMs);
  };
  wait(delayMs);
  return () => clearTimeout(timer);
}
