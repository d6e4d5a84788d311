import { hash } from "node:crypto";

/** Kinds of failures that are dealt with alike. The numbers are sent on the wire (holdfast.v1.FailureClass). */
export const FailureClass = {
  /** Asked to slow down: HTTP 429 and the like. */
  RateLimited: 1,
  /** The other side is broken or busy: HTTP 5xx. */
  ServerError: 2,
  /** The other side refuses what was sent: HTTP 4xx that are nothing below. */
  ClientError: 3,
  /** Not let in: HTTP 401 and 403. */
  Denied: 4,
  /** HTTP 404, 410, a file that is not there. */
  NotFound: 5,
  /** No answer in time. */
  Timeout: 6,
  /** No connection, or a broken one. */
  Connection: 7,
  /** Well-formed, but not of the form that was expected. */
  SchemaMismatch: 8,
  /** Not well-formed. */
  ParseError: 9,
  /** Memory, disk or the like ran out. */
  Exhausted: 10,
  /** The job's own deadline passed. */
  Deadline: 11,
  /** Workers were lost in its last attempt. */
  WorkerLost: 12,
  /** None of these. */
  Other: 13,
} as const;
export type FailureClass = (typeof FailureClass)[keyof typeof FailureClass];

export interface FailureText {
  readonly code: string;
  readonly message: string;
}

/** Which class a failure is of, and which failures are the same but for what varies from job to job. */
export interface FailureIdentity {
  readonly failureClass: FailureClass;
  /** 12 hexadecimal digits: same class, code and pattern. */
  readonly fingerprint: string;
  /** The message without what varies. */
  readonly pattern: string;
}

type Rule = readonly [FailureClass, RegExp];

/** By code, which handlers choose for grouping. The first that fits. */
const codeRules: readonly Rule[] = [
  [FailureClass.WorkerLost, /^WORKER_LOST$/],
  [FailureClass.RateLimited, /(^|_)429$|RATE_?LIMIT|TOO_MANY_REQUESTS|THROTTL|RESOURCE_EXHAUSTED/],
  [FailureClass.Timeout, /(^|_)(408|504)$|TIMEOUT|TIMED_?OUT|DEADLINE|ABORT_ERR/],
  [FailureClass.ServerError, /(^|_)5\d\d$|BAD_GATEWAY|UNAVAILABLE|INTERNAL|SERVER_ERROR/],
  [FailureClass.Denied, /(^|_)(401|403)$|UNAUTH|FORBIDDEN|PERMISSION|EACCES|EPERM/],
  [FailureClass.NotFound, /(^|_)(404|410)$|NOT_?FOUND|(^|_)GONE$|ENOENT/],
  [FailureClass.ClientError, /(^|_)4\d\d$|BAD_REQUEST/],
  [FailureClass.Connection, /ECONN|ENOTFOUND|EAI_AGAIN|EPIPE|EHOST|ENET|NETWORK|CONNECTION|SOCKET/],
  [FailureClass.SchemaMismatch, /SCHEMA|VALIDATION|INVALID_(ARGUMENT|FIELD|TYPE)|ZOD/],
  [FailureClass.ParseError, /PARS(E|ING)|SYNTAX|DECOD|MALFORMED|JSON|XML|CSV/],
  [FailureClass.Exhausted, /OUT_OF_|ENOMEM|ENOSPC|EMFILE|(^|_)OOM/],
];

/** By message, where the code says nothing. */
const messageRules: readonly Rule[] = [
  [FailureClass.RateLimited, /\b429\b|rate.?limit|too many requests|throttl/i],
  [FailureClass.Timeout, /\btim(ed?|ing)[ -]?out\b|deadline exceeded|ETIMEDOUT/i],
  [
    FailureClass.ServerError,
    /\b(http|status)\D{0,12}5\d\d\b|bad gateway|service unavailable|internal server error/i,
  ],
  [FailureClass.Denied, /\b(http|status)\D{0,12}40[13]\b|unauthori[sz]ed|forbidden|permission denied/i],
  [FailureClass.NotFound, /\b(http|status)\D{0,12}4(04|10)\b|ENOENT|no such file/i],
  [FailureClass.ClientError, /\b(http|status)\D{0,12}4\d\d\b|bad request/i],
  [
    FailureClass.Connection,
    /ECONN|ENOTFOUND|EAI_AGAIN|EPIPE|EHOSTUNREACH|socket hang up|connection (refused|reset|closed)|fetch failed/i,
  ],
  [
    FailureClass.SchemaMismatch,
    /schema|validation|required propert|must have|must be (a|an|of)\b|unexpected (type|field|property)/i,
  ],
  [
    FailureClass.ParseError,
    /unexpected (token|end|character)|invalid json|not valid json|pars(e|ing)|malformed/i,
  ],
  [FailureClass.Exhausted, /out of memory|heap limit|no space left|ENOSPC|ENOMEM|too many open files/i],
];

/** Code and message of the hub when a job's own deadline passed; a handler's DEADLINE_EXCEEDED is a timeout. */
const jobDeadline = /^The (deadline|time to start) of the job passed/;

export function classOf({ code, message }: FailureText): FailureClass {
  if (code === "DEADLINE_EXCEEDED" && jobDeadline.test(message)) return FailureClass.Deadline;
  const byCode = codeRules.find(([, form]) => form.test(code));
  if (byCode) return byCode[0];
  const text = message.slice(0, examinedCharactersMax);
  return messageRules.find(([, form]) => form.test(text))?.[0] ?? FailureClass.Other;
}

const examinedCharactersMax = 1_000;
const patternCharactersMax = 200;

/** What varies from job to job, from the most special form to the most general. */
const varying: readonly (readonly [RegExp, string])[] = [
  [/\b[a-z][a-z0-9+.-]{1,20}:\/\/[^\s"'<>)]+/gi, "<url>"],
  [/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/gi, "<id>"],
  [/\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?/g, "<time>"],
  [/\b[\w.+-]+@[\w-]+(\.[\w-]+)+\b/g, "<address>"],
  [/"[^"\n]{0,400}"|'[^'\n]{0,400}'|`[^`\n]{0,400}`/g, "<text>"],
  [/\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b/gi, "<id>"],
  [/\d+(\.\d+)?/g, "<n>"],
];

/** The first line of a message without what varies: equal for failures that are the same. */
export function patternOf(message: string): string {
  const line = message.slice(0, examinedCharactersMax).split("\n", 1)[0] ?? "";
  const bare = varying.reduce((text, [form, word]) => text.replace(form, word), line);
  return bare.replace(/\s+/g, " ").trim().slice(0, patternCharactersMax);
}

export function identifyFailure(failure: FailureText): FailureIdentity {
  const failureClass = classOf(failure);
  const pattern = patternOf(failure.message);
  const fingerprint = hash("sha256", `${failureClass}\0${failure.code}\0${pattern}`).slice(0, 12);
  return { failureClass, fingerprint, pattern };
}
