// What acts of operators need: a hub, an operator with a key of every scope, and what there is to act on.
import type { DescMessage, DescMethodUnary, JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import { AccessService } from "@holdfast/gen/holdfast/v1/access_service_pb";
import { EffectService } from "@holdfast/gen/holdfast/v1/effect_service_pb";
import { InboxService } from "@holdfast/gen/holdfast/v1/inbox_service_pb";
import { SignalService } from "@holdfast/gen/holdfast/v1/signal_service_pb";
import { beforeAll } from "vitest";
import { scopes } from "../../src/domain/scope.js";
import type { RawClient } from "./raw-client.js";
import { useHub } from "./raw-hub.js";
import { duration, submitOne } from "./raw-jobs.js";
import { openPublisher, openSubscriber } from "./raw-signals.js";
import { until } from "./raw-wait.js";
import { attachWorker, failure } from "./raw-worker.js";

/** An act that is ready to be done, and what has to be kept of it. */
export interface Scene {
  readonly act: () => Promise<unknown>;
  /** null: only the act makes it. */
  readonly target: string | null;
  readonly why: { readonly reason: string; readonly ticket: string };
  readonly before: JsonObject | undefined;
  readonly after: JsonObject | undefined;
  /** Doing it again changes something again. */
  readonly isNewEachTime?: boolean;
}

export interface OperatorAct {
  readonly method: { readonly parent: { readonly name: string }; readonly name: string };
  readonly action: string;
  /** Tells acts of one method apart. */
  readonly what?: string;
  readonly scene: () => Promise<Scene>;
}

export type OperatorDesk = ReturnType<typeof openOperatorDesk>;

/** What no record may hold: it is in every payload, result, signal, checkpoint and label. */
export const planted = "Geheimnis-4711";
export const justification = { reason: "it was agreed on", ticket: "OPS-1" };
/** What is kept where the call has a reason of its own. */
export const ownReason = { reason: "it was agreed on", ticket: "" };
export const keyScopes = ["jobs:read"];
export const effectName = (key: string) => ({ owner: { case: "scope" as const, value: "shop" }, key });

let names = 0;
export const fresh = (name: string) => `${name}-${++names}`;

/** For a whole test file. */
export function openOperatorDesk() {
  const house = useHub({ payloadBytesMax: 1_024 });
  let ops: RawClient;
  let apiKey = "";
  beforeAll(async () => {
    const request = { subject: "ops", scopes: [...scopes], justification };
    ({ apiKey } = await house.client().call(AccessService.method.createKey, request));
    ops = house.client({ apiKey });
  });

  return {
    house,
    client: () => ops,
    apiKey: () => apiKey,

    /** A call of the operator, to be made later. */
    call<I extends DescMessage, O extends DescMessage>(
      method: DescMethodUnary<I, O>,
      request: MessageInitShape<I>,
    ): () => Promise<unknown> {
      return () => ops.call(method, request);
    },

    /** A job that ended, by a failure with this code or well. */
    async ended(code: string | null): Promise<string> {
      const kind = fresh("kind");
      const jobId = await submitOne(ops, { kind, payload: Buffer.from(planted), labels: { note: planted } });
      const worker = await attachWorker(ops, { kinds: [kind] });
      worker.credit(1);
      const lease = await worker.lease();
      if (code === null) await worker.succeed(lease, planted);
      else await worker.report(lease, failure(code, { permanent: true }));
      worker.vanish();
      return jobId;
    },

    async key(tenant = ""): Promise<string> {
      const request = { subject: "shop", scopes: keyScopes, tenant };
      return (await ops.call(AccessService.method.createKey, request)).key?.keyId ?? "";
    },

    /** An entry of the inbox that no hub can take. */
    async refusedEntry(): Promise<string> {
      const text = "select submit('order', payload_bytes => $1::bytea) as id";
      const payload = Buffer.from(planted.repeat(100));
      const jobId = (await house.query<{ id: string }>(text, [payload]))[0]?.id as string;
      await until(async () => {
        const { entries } = await ops.call(InboxService.method.list, { refusedOnly: true });
        return entries.some((entry) => entry.jobId === jobId);
      }, "the refusal");
      return jobId;
    },

    /** A channel with three signals, of which the consumer "dashboard" acknowledged two. */
    async readChannel(): Promise<string> {
      const name = fresh("channel");
      const publisher = await openPublisher(ops, { name });
      await publisher.publish([planted, planted, planted]);
      const subscriber = openSubscriber(ops, { name }, { consumer: "dashboard" });
      await until(async () => subscriber.seen().length === 3, "three signals");
      subscriber.checkpoint(2, planted);
      subscriber.ack(1, 2);
      await until(async () => {
        const { cursors } = await ops.call(SignalService.method.listCursors, { channel: { name } });
        return cursors[0]?.ackedThrough === 2n;
      }, "the cursor");
      return name;
    },

    async heldEffect(): Promise<string> {
      const key = fresh("mail");
      const request = { requestId: key, name: effectName(key), ttl: duration(60_000) };
      await ops.call(EffectService.method.claim, request);
      return key;
    },
  };
}
