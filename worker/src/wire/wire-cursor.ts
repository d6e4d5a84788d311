/** The bytes are not the protobuf message that they should be. */
export class WireError extends Error {
  override readonly name = "WireError";
}

/**
 * Reads protobuf fields in place, without building messages. Everything read is
 * checked against the end of the message, so truncated or hostile bytes end in a
 * WireError and never in a read beyond it.
 *
 * Integers are read as numbers. What the protocol counts (tokens, sequences,
 * deliveries) rises by one and never comes near 2^53; a larger value is refused
 * rather than rounded.
 */
export class WireCursor {
  readonly bytes: Buffer;
  pos: number;
  readonly end: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.bytes = bytes;
    this.pos = start;
    this.end = end;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let length = 0; length < 10; length++) {
      if (this.pos >= this.end) throw new WireError("the message ends inside a number");
      const byte = this.bytes[this.pos++] as number;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) throw new WireError("a number is larger than 2^53");
        return value;
      }
      scale *= 128;
    }
    throw new WireError("a number is longer than 10 bytes");
  }

  /** Steps over a length-delimited value: it lies between the new `pos` and the end returned. */
  enter(): number {
    const length = this.varint();
    const end = this.pos + length;
    if (end > this.end) throw new WireError("a field is longer than its message");
    return end;
  }

  /** Skips the value of a field whose tag has just been read. */
  skip(tag: number): void {
    switch (tag & 7) {
      case 0:
        this.skipVarint();
        return;
      case 1:
        this.pos += 8;
        break;
      case 2:
        this.pos = this.enter();
        return;
      case 5:
        this.pos += 4;
        break;
      default:
        throw new WireError(`wire type ${tag & 7} is not used by this protocol`);
    }
    if (this.pos > this.end) throw new WireError("the message ends inside a field");
  }

  private skipVarint(): void {
    for (let length = 0; length < 10; length++) {
      if (this.pos >= this.end) throw new WireError("the message ends inside a number");
      if ((this.bytes[this.pos++] as number) < 0x80) return;
    }
    throw new WireError("a number is longer than 10 bytes");
  }
}

/** The same bytes as a Buffer, without copying. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
