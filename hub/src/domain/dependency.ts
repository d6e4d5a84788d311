/** What a job waits for. */
export interface Dependency {
  readonly on: DependencyTarget;
  /** It must succeed; otherwise it only must have ended. */
  readonly isHard: boolean;
}

/** A key names a job of the same call, or else of the tenant. */
export type DependencyTarget =
  | { readonly type: "job"; readonly jobId: string }
  | { readonly type: "key"; readonly key: string };

/**
 * A circle among jobs of which each names the places of those that it waits for: the places along it, the first one
 * again at the end; null when there is none. Walks each edge once.
 */
export function findCycle(waitsFor: readonly (readonly number[])[]): readonly number[] | null {
  const done = new Set<number>();
  for (const start of waitsFor.keys()) {
    if (done.has(start)) continue;
    const path = [{ place: start, next: 0 }];
    const onPath = new Set([start]);
    for (let step = path.at(-1); step; step = path.at(-1)) {
      const target = waitsFor[step.place]?.[step.next];
      step.next += 1;
      if (target === undefined) {
        path.pop();
        onPath.delete(step.place);
        done.add(step.place);
      } else if (onPath.has(target)) {
        const places = path.map(({ place }) => place);
        return [...places.slice(places.indexOf(target)), target];
      } else if (!done.has(target)) {
        path.push({ place: target, next: 0 });
        onPath.add(target);
      }
    }
  }
  return null;
}
