import { BinaryReader } from "@bufbuild/protobuf/wire";
import { describe, expect, it } from "vitest";
import { Fault } from "../domain/fault.js";
import { encodeErrorInfo, encodeStatus, errorMetadata } from "./error-details.js";

type Field = readonly [number, string | number | Uint8Array];

/** The fields of a message on the wire, in order, as a client in any language reads them. */
function fieldsOf(bytes: Uint8Array, texts: readonly number[]): Field[] {
  const reader = new BinaryReader(bytes);
  const fields: Field[] = [];
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (wireType === 0) fields.push([number, reader.int32()]);
    else fields.push([number, texts.includes(number) ? reader.string() : reader.bytes()]);
  }
  return fields;
}

const fault = new Fault(
  "BACKLOG_FULL",
  "Zu viel – später wieder.",
  { limit: "queuedItemsMax", value: "5" },
  { retryAfterMs: 500 },
);

describe("the details of an error", () => {
  it("are an ErrorInfo with reason, domain and metadata", () => {
    const fields = fieldsOf(encodeErrorInfo(fault), [1, 2]);

    expect(fields.slice(0, 2)).toEqual([
      [1, "BACKLOG_FULL"],
      [2, "holdfast"],
    ]);
    const entries = fields
      .slice(2)
      .map(([number, entry]) => [number, ...fieldsOf(entry as Uint8Array, [1, 2])]);
    expect(entries).toEqual([
      [3, [1, "limit"], [2, "queuedItemsMax"]],
      [3, [1, "value"], [2, "5"]],
      [3, [1, "retry_after"], [2, "0.5s"]],
    ]);
  });

  it("are wrapped in a Status with code and message", () => {
    const [code, message, detail, ...rest] = fieldsOf(encodeStatus(8, fault), [2]);

    expect([code, message]).toEqual([
      [1, 8],
      [2, "Zu viel – später wieder."],
    ]);
    expect(rest).toEqual([]);
    const [type, value] = fieldsOf((detail as Field)[1] as Uint8Array, [1]);
    expect(type).toEqual([1, "type.googleapis.com/google.rpc.ErrorInfo"]);
    expect(Buffer.from((value as Field)[1] as Uint8Array)).toEqual(Buffer.from(encodeErrorInfo(fault)));
  });

  it("say how long to wait only where there is something to wait for, and leave the fault as it is", () => {
    const plain = new Fault("NOT_DEAD", "No.", { state: "3" });

    expect(errorMetadata(plain)).toEqual({ state: "3" });
    expect(errorMetadata(fault)).toEqual({ limit: "queuedItemsMax", value: "5", retry_after: "0.5s" });
    expect(fault.metadata).toEqual({ limit: "queuedItemsMax", value: "5" });
  });
});
