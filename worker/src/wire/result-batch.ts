import { ByteWriter, varintLength } from "./byte-writer.js";

/**
 * Results of a tick, encoded one after the other as a holdfast.v1.Report: each is
 * one entry of its repeated field, so any run of whole entries is again a Report.
 * These very bytes go into the journal and onto the stream; nothing in between
 * encodes them again.
 */

/** Tag of Report.results; the same byte is JobResult.job_id and Outcome.success. */
const entryTag = 0x0a;
const fencingTokenTag = 0x10;
const outcomeTag = 0x1a;
const contentTypeTag = 0x12;

/** Whose result it is: the id of the job as bytes in place, and the token. */
export type ResultIdentity = {
  readonly bytes: Uint8Array;
  readonly jobIdStart: number;
  readonly jobIdEnd: number;
  readonly token: number;
  /** JobResult.spend with its tag; empty when nothing was said. */
  readonly spendField?: Uint8Array;
};

export type EncodedResults = {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Which lease each entry belongs to. */
  readonly refs: Float64Array<ArrayBuffer>;
  /** Where each entry ends; it starts where the one before it ends. */
  readonly ends: Uint32Array<ArrayBuffer>;
};

export class ResultBatch {
  readonly #writer = new ByteWriter();
  #refs: number[] = [];
  #ends: number[] = [];

  get count(): number {
    return this.#refs.length;
  }

  get byteLength(): number {
    return this.#writer.length;
  }

  /** Adds a Success; `contentType` is ASCII. */
  addSuccess(
    ref: number,
    identity: ResultIdentity,
    result: string | Uint8Array,
    resultLength: number,
    contentType: string,
  ): void {
    const writer = this.#writer;
    const resultField = resultLength === 0 ? 0 : 1 + varintLength(resultLength) + resultLength;
    const typeField = contentType === "" ? 0 : 1 + varintLength(contentType.length) + contentType.length;
    const success = resultField + typeField;
    this.#open(ref, identity, 1 + varintLength(success) + success);
    writer.byte(entryTag);
    writer.varint(success);
    if (resultField > 0) {
      writer.byte(entryTag);
      writer.varint(resultLength);
      if (typeof result === "string") writer.text(result);
      else writer.copy(result, 0, resultLength);
    }
    if (typeField > 0) {
      writer.byte(contentTypeTag);
      writer.varint(contentType.length);
      writer.text(contentType);
    }
    this.#close(identity);
  }

  /** Adds any outcome, given as the bytes of a holdfast.v1.Outcome. */
  addOutcome(ref: number, identity: ResultIdentity, outcome: Uint8Array): void {
    this.#open(ref, identity, outcome.length);
    this.#writer.copy(outcome, 0, outcome.length);
    this.#close(identity);
  }

  #close({ spendField }: ResultIdentity): void {
    if (spendField) this.#writer.copy(spendField, 0, spendField.length);
    this.#ends.push(this.#writer.length);
  }

  #open(ref: number, identity: ResultIdentity, outcomeLength: number): void {
    const { bytes, jobIdStart, jobIdEnd, token, spendField } = identity;
    const idLength = jobIdEnd - jobIdStart;
    const length =
      1 +
      varintLength(idLength) +
      idLength +
      1 +
      varintLength(token) +
      1 +
      varintLength(outcomeLength) +
      outcomeLength +
      (spendField?.length ?? 0);
    const writer = this.#writer;
    writer.reserve(1 + varintLength(length) + length);
    writer.byte(entryTag);
    writer.varint(length);
    writer.byte(entryTag);
    writer.varint(idLength);
    writer.copy(bytes, jobIdStart, jobIdEnd);
    writer.byte(fencingTokenTag);
    writer.varint(token);
    writer.byte(outcomeTag);
    writer.varint(outcomeLength);
    this.#refs.push(ref);
  }

  take(): EncodedResults {
    const encoded = {
      bytes: this.#writer.take(),
      refs: new Float64Array(this.#refs),
      ends: new Uint32Array(this.#ends),
    };
    this.#refs = [];
    this.#ends = [];
    return encoded;
  }
}
