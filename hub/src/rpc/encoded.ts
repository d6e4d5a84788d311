/**
 * A response that is encoded already: gRPC sends its bytes as they are, Connect decodes them first. For what many
 * callers are sent alike, or what is stored as it is sent.
 */
export class EncodedResponse {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}
