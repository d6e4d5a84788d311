/** One field of an options object that breaks its rule. */
export type Problem = { readonly field: string; readonly rule: string; readonly given: string };

/** Options that cannot be used. The message has one line for each field: what it must be, and what was given. */
export class InvalidOptionsError extends TypeError {
  override readonly name = "InvalidOptionsError";
  readonly problems: readonly Problem[];

  constructor(caller: string, problems: readonly Problem[]) {
    const lines = problems.map(({ field, rule, given }) => `${field} must be ${rule}, got ${given}`);
    super(`${caller}: ${lines.join("\n  ")}`);
    this.problems = problems;
  }
}

/** A value as an error message shows it: short, and recognisable as text, number or other. */
export function show(value: unknown): string {
  if (typeof value === "string")
    return value.length > 80 ? `"${value.slice(0, 77)}..."` : JSON.stringify(value);
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  if (typeof value === "function") return "a function";
  return String(value);
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Misspelt options must not pass for absent ones. */
export function unknownFields(options: object, known: ReadonlySet<string>): Problem[] {
  return Object.keys(options)
    .filter((field) => !known.has(field))
    .map((field) => ({
      field,
      rule: `one of the options ${[...known].join(", ")}`,
      given: "an unknown name",
    }));
}

/** A value that is absent, or passes the test. */
export function formed(
  field: string,
  value: unknown,
  passes: (value: unknown) => boolean,
  rule: string,
  isRequired = false,
): Problem[] {
  if ((value === undefined && !isRequired) || passes(value)) return [];
  return [{ field, rule, given: show(value) }];
}

/** A whole number in a range, or absent. */
export function count(field: string, value: unknown, min: number, max: number): Problem[] {
  const inRange = (given: unknown) =>
    Number.isInteger(given) && (given as number) >= min && (given as number) <= max;
  return formed(field, value, inRange, `a whole number from ${min} to ${max}`);
}

/** A list of names of one form, or absent. */
export function listOf(
  field: string,
  value: unknown,
  lengthMax: number,
  form: RegExp,
  formRule: string,
): Problem[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > lengthMax) {
    return [{ field, rule: `a list of at most ${lengthMax} names`, given: show(value) }];
  }
  return value.flatMap((item: unknown, i) =>
    formed(`${field}[${i}]`, item, (given) => typeof given === "string" && form.test(given), formRule, true),
  );
}
