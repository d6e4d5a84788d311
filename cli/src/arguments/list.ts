import { InvalidArgumentError } from "commander";

/** Collects an option that may be repeated, and may hold several values separated by commas. */
export function collectWords(text: string, earlier: readonly string[] = []): readonly string[] {
  const words = text.split(",").map((word) => word.trim());
  if (words.includes("")) {
    throw new InvalidArgumentError(`"${text}" holds an empty value: separate values by single commas.`);
  }
  return [...earlier, ...words];
}
