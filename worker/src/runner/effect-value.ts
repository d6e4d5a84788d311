import { JobFailure } from "../job-errors.js";
import { encodeValue } from "./job-outcome.js";

/** What an effect came to, as the hub stores it. */
export type StoredValue = { readonly result: Uint8Array; readonly contentType: string };

/**
 * Encodes what an effect came to. The effect is done, and what cannot be stored would be done again: so that fails the
 * job for good, for somebody to look at.
 *
 * @throws EffectNotStored
 */
export function encodeEffectValue(value: unknown, bytesMax: number): StoredValue {
  const { body, length, contentType } = encode(value);
  if (length > bytesMax)
    throw new EffectNotStored(`what it returned has ${length} bytes, more than the hub stores: ${bytesMax}`);
  // A copy: the function may go on writing to its own.
  return {
    result: typeof body === "string" ? new TextEncoder().encode(body) : new Uint8Array(body),
    contentType,
  };
}

function encode(value: unknown) {
  try {
    return encodeValue(value);
  } catch (error) {
    throw new EffectNotStored(error instanceof Error ? error.message : String(error));
  }
}

/** Longest reason of the kind; what is longer is cut. */
const reasonCharsMax = 300;

/** The effect was done, and the hub cannot know what it came to. */
export class EffectNotStored extends JobFailure {
  constructor(why: string) {
    const message = `the effect was done, but cannot be stored: ${why}`.slice(0, reasonCharsMax);
    super("EFFECT_NOT_STORED", message, { permanent: true });
  }
}

/** What the stored value comes back as. */
export function decodeEffectValue({ result, contentType }: StoredValue): unknown {
  if (contentType === "" && result.length === 0) return undefined;
  if (/^application\/(.+\+)?json\b/.test(contentType)) return JSON.parse(new TextDecoder().decode(result));
  return contentType.startsWith("text/") ? new TextDecoder().decode(result) : result;
}
