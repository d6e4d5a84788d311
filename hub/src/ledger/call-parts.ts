/** What a batch of a statement can hold. */
export interface BatchBounds<Item> {
  readonly itemsMax: number;
  readonly bytesMax: number;
  readonly bytesOf: (item: Item) => number;
}

export interface CallPart<Item> {
  readonly items: readonly Item[];
  readonly bytes: number;
}

/** The items of one call, in order, in as few parts as batches can hold; an item beyond the bytes stands alone. */
export function partsOf<Item>(
  { itemsMax, bytesMax, bytesOf }: BatchBounds<Item>,
  items: readonly Item[],
): CallPart<Item>[] {
  const parts: CallPart<Item>[] = [];
  let first = 0;
  let bytes = 0;
  for (const [at, item] of items.entries()) {
    const itemBytes = bytesOf(item);
    if (at > first && (at - first === itemsMax || bytes + itemBytes > bytesMax)) {
      parts.push({ items: items.slice(first, at), bytes });
      first = at;
      bytes = 0;
    }
    bytes += itemBytes;
  }
  // A call that fits, as nearly all do, is not copied.
  if (items.length > 0) parts.push({ items: first === 0 ? items : items.slice(first), bytes });
  return parts;
}
