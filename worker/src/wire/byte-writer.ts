const initialBytes = 16 * 1024;

/** Length of `value` as a varint. */
export function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 128; rest /= 128) length++;
  return length;
}

/** Writes `value` as a varint; answers where it ends. */
export function putVarint(target: Buffer, start: number, value: number): number {
  let pos = start;
  let rest = value;
  while (rest >= 128) {
    target[pos++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  target[pos++] = rest;
  return pos;
}

/** A buffer that grows, keeps its memory between uses, and hands out exact copies. */
export class ByteWriter {
  #buffer = Buffer.allocUnsafeSlow(initialBytes);
  length = 0;

  /** Makes room for `count` more bytes; the writes below do not check again. */
  reserve(count: number): void {
    const needed = this.length + count;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(grown, 0, 0, this.length);
    this.#buffer = grown;
  }

  byte(value: number): void {
    this.#buffer[this.length++] = value;
  }

  varint(value: number): void {
    let rest = value;
    while (rest >= 128) {
      this.#buffer[this.length++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    this.#buffer[this.length++] = rest;
  }

  copy(source: Uint8Array, start: number, end: number): void {
    const target = this.#buffer;
    const length = end - start;
    if (length < 64) {
      // A call into native code costs more than a few dozen bytes copied here.
      for (let i = 0; i < length; i++) target[this.length + i] = source[start + i] as number;
    } else {
      target.set(source.subarray(start, end), this.length);
    }
    this.length += length;
  }

  text(value: string): void {
    this.length += this.#buffer.write(value, this.length);
  }

  /** Everything written, as a copy of its own; the writer is empty again. */
  take(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.length);
    bytes.set(this.#buffer.subarray(0, this.length));
    this.length = 0;
    if (this.#buffer.length > 64 * initialBytes) this.#buffer = Buffer.allocUnsafeSlow(initialBytes);
    return bytes;
  }
}
