/** Who changes something, and why. */
export interface Operator {
  readonly tenantId: number;
  /** Subject of the key; empty without keys. */
  readonly subject: string;
  readonly reason: string;
  /** Where the change was agreed on; empty where none is asked for. */
  readonly ticket: string;
}

/** A change that an operator made, as it is kept. */
export interface OperationView {
  readonly operationId: string;
  readonly atMs: number;
  readonly subject: string;
  /** A verb with its object, like "pause.set". */
  readonly action: string;
  /** Name of what was changed. */
  readonly target: string;
  readonly reason: string;
  readonly ticket: string;
  /** What stood there before; null for nothing. */
  readonly before: unknown;
  /** What stands there since; null for nothing. */
  readonly after: unknown;
}
