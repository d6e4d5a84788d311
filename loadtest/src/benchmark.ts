import { type OptionTable, type OptionValues, parseOptions } from "./options.js";
import type { Stage } from "./stage.js";
import type { Table } from "./table.js";

/** What a benchmark found, besides where and with what it ran. */
export interface Findings {
  readonly table: Table;
  /** Sentences that the table needs to be read rightly. */
  readonly notes: readonly string[];
  /** Everything measured, for whoever wants to compute something else; goes into the JSON alone. */
  readonly measured: unknown;
}

/** A line of the table in main.ts: one benchmark, one file. */
export interface Benchmark {
  readonly name: string;
  /** One line for the list of benchmarks. */
  readonly summary: string;
  readonly options: OptionTable;
  /**
   * Reads the arguments.
   *
   * @throws UsageError before anything is started
   */
  prepare(args: readonly string[]): PreparedBenchmark;
}

export interface PreparedBenchmark {
  readonly options: Readonly<Record<string, unknown>>;
  /** Where the findings go: a path with or without `.json`; null for the default. */
  readonly out: string | null;
  readonly isProfiling: boolean;
  run(stage: Stage): Promise<Findings>;
}

/** Options that every benchmark has. */
export const commonOptions = {
  out: { unit: "text", default: null, help: "where the JSON goes, and a Markdown table beside it" },
  profile: {
    unit: "switch",
    help: "record CPU profiles of every program and thread, and draw flame graphs of them",
  },
} as const satisfies OptionTable;

export function defineBenchmark<const Own extends OptionTable>(definition: {
  readonly name: string;
  readonly summary: string;
  readonly options: Own;
  /** Throws a UsageError for options that do not go together, before anything is started. */
  readonly check?: (options: OptionValues<Own>) => void;
  readonly run: (stage: Stage, options: OptionValues<Own>) => Promise<Findings>;
}): Benchmark {
  const { name, summary, check, run } = definition;
  return {
    name,
    summary,
    options: { ...definition.options, ...commonOptions },
    prepare: (args) => {
      const { values, common } = parseOptions(definition.options, commonOptions, args);
      check?.(values);
      const { out, profile } = common;
      return { options: values, out, isProfiling: profile, run: (stage) => run(stage, values) };
    },
  };
}
