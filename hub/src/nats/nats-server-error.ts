/** A failure that the operator can do something about, as its message says: shown without a stack. */
export class NatsServerError extends Error {
  override name = "NatsServerError";
}
