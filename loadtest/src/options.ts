import { parseArgs } from "node:util";

/** One flag of a benchmark; its field is its name in the table. */
export type BenchOption =
  | {
      readonly unit: "count" | "seconds" | "per second";
      readonly default: number;
      /** Smallest and largest number allowed. */
      readonly range: readonly [number, number];
      readonly help: string;
    }
  | { readonly unit: "text"; readonly default: string | null; readonly help: string }
  | { readonly unit: "switch"; readonly help: string };

export type OptionTable = Readonly<Record<string, BenchOption>>;

export type OptionValues<Table extends OptionTable> = {
  readonly [Name in keyof Table]: Table[Name]["unit"] extends "switch"
    ? boolean
    : Table[Name]["unit"] extends "text"
      ? string | null
      : number;
};

/** The command line is wrong; the message says how. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/**
 * Reads `--name value` flags against two tables at once.
 *
 * @throws UsageError
 */
export function parseOptions<Own extends OptionTable, Common extends OptionTable>(
  own: Own,
  common: Common,
  args: readonly string[],
): { values: OptionValues<Own>; common: OptionValues<Common> } {
  const given = parseFlags({ ...own, ...common }, args);
  return { values: readTable(own, given), common: readTable(common, given) };
}

type Given = Readonly<Record<string, string | boolean | undefined>>;

function parseFlags(table: OptionTable, args: readonly string[]): Given {
  const options = Object.fromEntries(
    Object.entries(table).map(([name, { unit }]) => [
      name,
      { type: unit === "switch" ? ("boolean" as const) : ("string" as const) },
    ]),
  );
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values as Given;
  } catch (cause) {
    throw new UsageError((cause as Error).message, { cause });
  }
}

function readTable<Table extends OptionTable>(table: Table, given: Given): OptionValues<Table> {
  const entries = Object.entries(table).map(([name, option]) => [
    name,
    readOption(name, option, given[name]),
  ]);
  return Object.fromEntries(entries) as OptionValues<Table>;
}

function readOption(
  name: string,
  option: BenchOption,
  given: string | boolean | undefined,
): number | string | boolean | null {
  if (option.unit === "switch") return given === true;
  if (option.unit === "text") return given === undefined ? option.default : String(given);
  if (given === undefined) return option.default;
  const number = Number(given);
  const [least, most] = option.range;
  if (!Number.isSafeInteger(number) || number < least || number > most)
    throw new UsageError(`--${name} must be a whole number from ${least} to ${most}, not "${given}".`);
  return number;
}

/** The flags as lines for people. */
export function describeOptions(table: OptionTable): string[] {
  return Object.entries(table).map(([name, option]) => {
    const flag = option.unit === "switch" ? `--${name}` : `--${name} <${option.unit}>`;
    const fallback =
      option.unit === "switch" || option.default === null ? "" : ` (default ${option.default})`;
    return `    ${flag.padEnd(24)}${option.help}${fallback}`;
  });
}
