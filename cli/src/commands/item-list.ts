import type { JsonValue } from "@bufbuild/protobuf";
import type { Output } from "../output.js";
import { formatRows, formatTable } from "../table.js";

interface ListText<Item> {
  readonly headings: readonly string[];
  readonly row: (item: Item) => string[];
  readonly json: (item: Item) => JsonValue;
  /** What people are told when there is nothing to show. */
  readonly nothing: string;
}

/** Writes items page by page as they come, so that a long list needs no memory; returns how many there were. */
export async function writeItems<Item>(
  output: Output,
  pages: AsyncIterable<readonly Item[]>,
  text: ListText<Item>,
): Promise<number> {
  let written = 0;
  for await (const items of pages) {
    if (output.isJson) {
      for (const item of items) {
        output.item(text.json(item));
      }
    } else {
      const rows = items.map(text.row);
      output.line(written === 0 ? formatTable(text.headings, rows, output.paint) : formatRows(rows));
    }
    written += items.length;
  }
  if (written === 0) {
    output.remark(text.nothing);
  }
  return written;
}
