// A page of signals: consecutive ones of one partition, in the form in which they are stored and sent. The body is a
// row of records, each a tag byte, its length as a varint, and that many bytes; this file knows no more of it.

export interface SignalPage {
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly publishedAtMs: number;
  readonly producer: string;
  readonly body: Uint8Array;
}

/** Where each record begins, and where the last one ends. Kept with the page: followers share it. */
const knownOffsets = new WeakMap<SignalPage, Uint32Array>();

/** @throws when the body does not hold as many records as the page has sequences */
export function recordOffsets(page: SignalPage): Uint32Array {
  const known = knownOffsets.get(page);
  if (known) return known;
  const count = page.lastSequence - page.firstSequence + 1;
  const offsets = new Uint32Array(count + 1);
  const { body } = page;
  let at = 0;
  for (let record = 0; record < count; record += 1) {
    offsets[record] = at;
    at = recordEnd(body, at);
  }
  if (at !== body.length) throw new Error(`A page of ${count} signals has ${body.length} bytes, not ${at}.`);
  offsets[count] = at;
  knownOffsets.set(page, offsets);
  return offsets;
}

function recordEnd(body: Uint8Array, start: number): number {
  let at = start + 1;
  let length = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = body[at];
    if (byte === undefined || shift > 28) throw new Error("A page of signals is damaged.");
    at += 1;
    length += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return at + length;
  }
}

/** The part of a page from one sequence through another; the page itself when that is all of it. */
export function slicePage(page: SignalPage, first: number, last: number): SignalPage {
  if (first <= page.firstSequence && last >= page.lastSequence) return page;
  const from = Math.max(first, page.firstSequence);
  const through = Math.min(last, page.lastSequence);
  const offsets = recordOffsets(page);
  return {
    ...page,
    firstSequence: from,
    lastSequence: through,
    body: page.body.subarray(offsets[from - page.firstSequence], offsets[through - page.firstSequence + 1]),
  };
}

/** The last sequence of a page that may be sent within so many signals and bytes; one before the first when none. */
export function lastWithin(page: SignalPage, signals: number, bytes: number): number {
  const count = page.lastSequence - page.firstSequence + 1;
  if (count <= signals && page.body.length <= bytes) return page.lastSequence;
  const offsets = recordOffsets(page);
  let low = 0;
  let high = Math.min(count, signals);
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((offsets[middle] as number) <= bytes) low = middle;
    else high = middle - 1;
  }
  return page.firstSequence + low - 1;
}

/** What may be sent. */
export interface Allowance {
  readonly signals: number;
  readonly bytes: number;
}

export interface PackedPages extends Allowance {
  readonly pages: readonly SignalPage[];
}

/** Pages that follow each other, cut to the sequences from one through another and to what may be sent. */
export function packPages(
  pages: readonly SignalPage[],
  from: number,
  through: number,
  allowance: Allowance,
): PackedPages {
  const packed: SignalPage[] = [];
  let signals = 0;
  let bytes = 0;
  for (const whole of pages) {
    if (whole.firstSequence > through) break;
    if (whole.lastSequence < from) continue;
    const page = slicePage(whole, from, through);
    const last = lastWithin(page, allowance.signals - signals, allowance.bytes - bytes);
    if (last < page.firstSequence) break;
    const part = slicePage(page, page.firstSequence, last);
    packed.push(part);
    signals += part.lastSequence - part.firstSequence + 1;
    bytes += part.body.length;
    if (last < page.lastSequence) break;
  }
  return { pages: packed, signals, bytes };
}
