import {
  create,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { requestField } from "../wire/attach-frame.js";
import type { Attachment } from "./attachment.js";

/** The way up to the hub: the current stream while it is live, and nowhere otherwise. */
export class Outlet {
  #attachment: Attachment | undefined;
  #isFull = false;

  /** Follows a new stream; undefined: there is none. */
  follow(attachment: Attachment | undefined): void {
    this.#attachment = attachment;
    this.#isFull = false;
  }

  get isLive(): boolean {
    return this.#attachment?.isLive === true;
  }

  /** A hello is under way and its welcome has not come. */
  get isAttaching(): boolean {
    return this.#attachment?.isAttaching === true;
  }

  /** False while the transport has not taken what was written: whatever can wait should. */
  get isWritable(): boolean {
    return this.isLive && !this.#isFull;
  }

  /** The transport has room again. */
  drained(): void {
    this.#isFull = false;
  }

  sendBytes(field: keyof typeof requestField, parts: readonly Uint8Array[]): void {
    if (this.#attachment === undefined) return;
    this.#isFull = !this.#attachment.send(requestField[field], parts);
  }

  send<Desc extends DescMessage>(
    field: keyof typeof requestField,
    schema: Desc,
    message: MessageInitShape<Desc>,
  ): void {
    if (!this.isLive) return;
    const full: MessageShape<Desc> = create(schema, message);
    this.sendBytes(field, [toBinary(schema, full)]);
  }
}
