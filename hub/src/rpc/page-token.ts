import { checkText, invalid } from "./check.js";

/** The longest is a name with a number. */
const positionBytesMax = 512;
/** What numbers of the ledger go up to. */
const idMax = 0x7fff_ffff;

/**
 * Opaque page tokens: the position and, so that a token is never used with another list, what was listed. Not a
 * secret and not trusted: it only says where to go on.
 */
export function encodePageToken(position: string, listed: unknown): string {
  return Buffer.from(JSON.stringify([position, fingerprint(listed)])).toString("base64url");
}

/** @throws Fault INVALID_FIELD */
export function decodePageToken(token: string, listed: unknown): string {
  try {
    const [position, of] = JSON.parse(Buffer.from(token, "base64url").toString("utf8")) as unknown[];
    if (typeof position === "string" && of === fingerprint(listed))
      return checkText("page_token", position, positionBytesMax);
  } catch {
    // Falls through: whatever is not a token of this list is refused alike.
  }
  throw invalid("page_token", "must be the next_page_token of the previous page, with the same filters");
}

/**
 * The same for a position that is a number, from 0 to `max`.
 *
 * @throws Fault INVALID_FIELD
 */
export function decodePageNumber(token: string, listed: unknown, max = idMax): number {
  const number = Number(decodePageToken(token, listed));
  if (!Number.isSafeInteger(number) || number < 0 || number > max) throw invalid("page_token", "is damaged");
  return number;
}

function fingerprint(listed: unknown): string {
  return JSON.stringify(listed);
}
