/** One thing that the doctor looked at. */
export interface Check {
  readonly name: string;
  readonly status: "ok" | "warn" | "fail";
  /** What was found. */
  readonly detail: string;
  /** What to do about it; absent when all is well. */
  readonly next?: string;
}

export function ok(name: string, detail: string): Check {
  return { name, status: "ok", detail };
}

export function warn(name: string, detail: string, next: string): Check {
  return { name, status: "warn", detail, next };
}

export function fail(name: string, detail: string, next: string): Check {
  return { name, status: "fail", detail, next };
}
