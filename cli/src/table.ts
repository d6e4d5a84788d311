import { stripVTControlCharacters } from "node:util";
import type { Paint } from "./paint.js";

const COLUMN_GAP = "  ";

/** Lays rows out in left-aligned columns; colours do not count as width, the last column is not padded. */
export function formatRows(rows: readonly (readonly string[])[]): string {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((row) => visibleWidth(row[column] ?? ""))),
  );
  return rows
    .map((row) =>
      row
        .map((cell, column) => pad(cell, widths[column] ?? 0))
        .join(COLUMN_GAP)
        .trimEnd(),
    )
    .join("\n");
}

/** The same under a line of headings. */
export function formatTable(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  paint: Paint,
): string {
  return formatRows([headings.map((heading) => paint.faint(heading)), ...rows]);
}

/** Lays out named values, one per line, values aligned; absent ones are left out. */
export function formatFields(
  fields: readonly (readonly [string, string | undefined])[],
  paint: Paint,
): string {
  return formatRows(
    fields.flatMap(([name, value]) => (value === undefined ? [] : [[paint.faint(name), value]])),
  );
}

function pad(cell: string, width: number): string {
  return cell + " ".repeat(Math.max(0, width - visibleWidth(cell)));
}

function visibleWidth(cell: string): number {
  return stripVTControlCharacters(cell).length;
}
