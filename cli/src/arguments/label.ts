import { InvalidArgumentError } from "commander";

export type Labels = Readonly<Record<string, string>>;

/** Collects repeated "key=value" options; the value may hold further equals signs. */
export function collectLabel(text: string, labels: Labels = {}): Labels {
  const equals = text.indexOf("=");
  if (equals < 1) {
    throw new InvalidArgumentError(`"${text}" is not a label: write key=value, for example region=eu.`);
  }
  const key = text.slice(0, equals);
  if (Object.hasOwn(labels, key)) {
    throw new InvalidArgumentError(`the label "${key}" is given twice.`);
  }
  return { ...labels, [key]: text.slice(equals + 1) };
}
