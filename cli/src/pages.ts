interface PageRequest {
  readonly pageSize: number;
  readonly pageToken: string;
}

interface Page<Item> {
  readonly items: readonly Item[];
  readonly nextPageToken: string;
}

/** The protocol's largest page. */
const PAGE_SIZE_MAX = 500;

/** Asks for page after page until so many items came, or the end. Empty pages are not yielded. */
export async function* takeItems<Item>(
  limit: number,
  ask: (request: PageRequest) => Promise<Page<Item>>,
): AsyncGenerator<readonly Item[]> {
  let left = limit;
  let pageToken = "";
  do {
    const page = await ask({ pageSize: Math.min(left, PAGE_SIZE_MAX), pageToken });
    // A page longer than asked for would break the promise of the limit.
    const items = page.items.slice(0, left);
    if (items.length > 0) {
      yield items;
    }
    left -= items.length;
    pageToken = page.nextPageToken;
  } while (left > 0 && pageToken !== "");
}
