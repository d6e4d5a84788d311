import type {
  DescMessage,
  DescMethodBiDiStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import type { Principal } from "../domain/scope.js";
import type { EncodedResponse } from "./encoded.js";

/** What a method knows of its call besides the request. */
export interface Call {
  readonly principal: Principal;
  /** Aborted when the caller is gone. */
  readonly signal: AbortSignal;
}

type Unary<I extends DescMessage, O extends DescMessage> = (
  request: MessageShape<I>,
  call: Call,
) => Promise<MessageInitShape<O>>;
type ServerStream<I extends DescMessage, O extends DescMessage> = (
  request: MessageShape<I>,
  call: Call,
) => AsyncIterable<MessageInitShape<O>>;
type BiDiStream<I extends DescMessage, O extends DescMessage> = (
  requests: AsyncIterable<MessageShape<I>>,
  call: Call,
) => AsyncIterable<MessageShape<O> | EncodedResponse>;

/** A service, implemented once; grpc-mount.ts and connect-mount.ts serve it. */
export type Implementation<S extends DescService> = {
  readonly [M in keyof S["method"]]: S["method"][M] extends DescMethodUnary<infer I, infer O>
    ? Unary<I, O>
    : S["method"][M] extends DescMethodServerStreaming<infer I, infer O>
      ? ServerStream<I, O>
      : S["method"][M] extends DescMethodBiDiStreaming<infer I, infer O>
        ? BiDiStream<I, O>
        : never;
};

export interface ImplementedService {
  readonly desc: DescService;
  // The shape per method is checked by `implement`; mounts go by the method's kind.
  readonly methods: Readonly<Record<string, unknown>>;
}

export function implement<S extends DescService>(desc: S, methods: Implementation<S>): ImplementedService {
  return { desc, methods: methods as Readonly<Record<string, unknown>> };
}
