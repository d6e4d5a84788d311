import {
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { asBuffer } from "../wire/wire-cursor.js";

/** Path of a method on the wire: "/holdfast.v1.JobService/Submit". */
export function methodPath(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** Serializer of a message, as grpc-js wants it. */
export function serializer<Desc extends DescMessage>(schema: Desc): (message: MessageShape<Desc>) => Buffer {
  return (message) => asBuffer(toBinary(schema, message));
}

/**
 * Deserializer of a message, as grpc-js wants it. Fields of bytes are cut from what is read, and have its type: a
 * plain Uint8Array, not a Buffer whose `slice` and JSON form differ from what the message's type promises.
 */
export function deserializer<Desc extends DescMessage>(schema: Desc): (bytes: Buffer) => MessageShape<Desc> {
  return (bytes) => fromBinary(schema, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}
