import {
  ConfigError,
  HUB_OPTION_TABLE,
  type HubConfig,
  type HubOptions,
  readHubConfig,
} from "@holdfast/hub/config";
import { type Command, Option } from "commander";
import { usageError } from "./cli-error.js";
import type { Io } from "./io.js";

export type HubField = keyof HubConfig;

type Row = (typeof HUB_OPTION_TABLE)[number] & { readonly isSecret?: boolean };

const VALUE_NAMES: Readonly<Record<Row["unit"], string>> = {
  text: "text",
  address: "host:port",
  file: "file",
  folder: "directory",
  ms: "ms",
  count: "number",
  bytes: "bytes",
};

/**
 * Gives a command the options of a hub, all of them or the named ones. Commander is told no defaults: option,
 * environment and default are weighed in one place, the hub's own configuration.
 */
export function addHubOptions(command: Command, fields?: readonly HubField[]): Command {
  for (const row of HUB_OPTION_TABLE) {
    if (fields === undefined || fields.includes(row.field)) {
      const origin = row.default === null ? row.env : `default: ${row.default}, env: ${row.env}`;
      command.addOption(new Option(`--${row.flag} <${VALUE_NAMES[row.unit]}>`, `${row.help} (${origin})`));
    }
  }
  return command;
}

/** The configuration that a command's options and the environment make; flags that are not the hub's are left out. */
export function readConfig(flags: HubOptions, io: Io): HubConfig {
  try {
    const options = Object.fromEntries(HUB_OPTION_TABLE.map(({ field }) => [field, flags[field]]));
    return readHubConfig(options, io.env);
  } catch (error) {
    throw error instanceof ConfigError
      ? usageError(error.message, "`holdfast help hub` lists every option.")
      : error;
  }
}

/** The configuration for machines, secrets hidden. */
export function configJson(config: HubConfig): Record<string, string | number | null> {
  return Object.fromEntries(
    HUB_OPTION_TABLE.map((row: Row) => [
      row.field,
      row.isSecret === true && config[row.field] !== null ? "(set)" : config[row.field],
    ]),
  );
}
