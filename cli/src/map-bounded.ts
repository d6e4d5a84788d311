/** Maps items with at most so many calls on their way; results keep the order of the items. */
export async function mapBounded<Item, Result>(
  items: readonly Item[],
  callsMax: number,
  call: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const entries = items.entries();
  const takeTurns = async () => {
    for (const [index, item] of entries) {
      results[index] = await call(item);
    }
  };
  await Promise.all(Array.from({ length: Math.min(callsMax, items.length) }, takeTurns));
  return results;
}
