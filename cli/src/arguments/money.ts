import { InvalidArgumentError } from "commander";

const FORM = /^(\d{1,9})(?:\.(\d{1,6}))?$/;

/** Reads US dollars such as "12.50" as whole millionths: never as a float. */
export function parseMicroUsd(text: string): bigint {
  const [, whole, fraction = ""] = FORM.exec(text) ?? [];
  if (whole === undefined) {
    throw new InvalidArgumentError(`"${text}" is not an amount in US dollars: write 12.50 or 0.000125.`);
  }
  return BigInt(whole) * 1_000_000n + BigInt(fraction.padEnd(6, "0"));
}

/** The same the other way, with two places at least. */
export function dollarsText(microUsd: bigint): string {
  const digits = microUsd.toString().padStart(7, "0");
  return `${digits.slice(0, -6)}.${digits.slice(-6).replace(/0{1,4}$/, "")}`;
}
