// The Publish stream. Batches are read without waiting for their commits, so that many share one, up to a window;
// their receipts go down in the order in which they came.
import { create } from "@bufbuild/protobuf";
import {
  type PublishOpen,
  type PublishRequest,
  type PublishResponse,
  PublishResponseSchema,
} from "@holdfast/gen/holdfast/v1/signal_service_pb";
import type { SignalPublisher } from "../services/signal-publisher.js";
import type { SignalPublishers } from "../services/signal-publishers.js";
import { checkInteger, checkText, checkUuid, invalid } from "./check.js";
import { toFault } from "./errors.js";
import type { Call } from "./implementation.js";
import { type EdgeLimits, publishWindow } from "./limits.js";
import { MessageQueue } from "./message-queue.js";
import { toChannelName, toNewSignals, toReceiptsMessage } from "./signal-messages.js";

export interface PublishParts {
  readonly publishers: SignalPublishers;
  readonly limits: EdgeLimits;
  readonly onDefect: (error: unknown) => void;
}

/** Answers that wait for a producer that does not read, at which its batches are read no more. */
const answersMax = 64;

export async function* publish(
  parts: PublishParts,
  requests: AsyncIterable<PublishRequest>,
  call: Call,
): AsyncGenerator<PublishResponse> {
  const input = requests[Symbol.asyncIterator]();
  const first = await input.next();
  const open = toOpen(first.done ? undefined : first.value);
  const answers = new MessageQueue<PublishResponse>(answersMax);
  const link = {
    pause: () => answers.push(create(PublishResponseSchema, { message: { case: "pause", value: {} } })),
    resume: () => answers.push(create(PublishResponseSchema, { message: { case: "resume", value: {} } })),
    end: (fault: unknown) => answers.end(fault),
  };
  const publisher = await parts.publishers.open(
    call.principal,
    open.channel,
    open.producer,
    open.lease,
    link,
  );
  call.signal.addEventListener("abort", () => answers.end(null), { once: true });
  try {
    if (call.signal.aborted) return;
    yield create(PublishResponseSchema, {
      message: {
        case: "opened",
        value: {
          lastProducerSequence: BigInt(publisher.lastNumber),
          windowSignals: publishWindow.signals,
          windowBytes: BigInt(publishWindow.bytes),
          partitions: publisher.partitions,
        },
      },
    });
    void readAll(parts, publisher, input, answers);
    yield* answers;
  } finally {
    parts.publishers.close(link);
    answers.end(null);
    void input.return?.();
  }
}

async function readAll(
  parts: PublishParts,
  publisher: SignalPublisher,
  input: AsyncIterator<PublishRequest>,
  answers: MessageQueue<PublishResponse>,
): Promise<void> {
  const { publishers, limits } = parts;
  let waiting = { signals: 0, bytes: 0 };
  let answered: Promise<void> = Promise.resolve();
  let wake: () => void = () => undefined;
  const fail = (error: unknown) => answers.end(toFault(error, parts.onDefect));
  try {
    for (let next = await input.next(); !next.done && !answers.isEnded; next = await input.next()) {
      const { message } = next.value;
      if (message.case !== "batch")
        throw invalid("message", "must be a batch: open is the first message, and only the first");
      const { signals, bytes } = toNewSignals(message.value.signals, limits);
      waiting = { signals: waiting.signals + signals.length, bytes: waiting.bytes + bytes };
      const free = publishers.reserve(bytes);
      const receipts = publisher.publish(signals).finally(() => {
        free();
        waiting = { signals: waiting.signals - signals.length, bytes: waiting.bytes - bytes };
        wake();
      });
      const before = answered;
      answered = receipts.then(async (got) => {
        await before;
        answers.push(toReceiptsMessage(got));
      });
      answered.catch(fail);
      while (waiting.signals >= publishWindow.signals || waiting.bytes >= publishWindow.bytes)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      await publishers.room();
      await answers.room();
    }
    await answered;
    answers.end(null);
  } catch (error) {
    fail(error);
  }
}

function toOpen(request: PublishRequest | undefined) {
  if (request?.message.case !== "open") throw invalid("open", "must be the first message");
  const open: PublishOpen = request.message.value;
  return {
    channel: toChannelName(open.channel, "open.channel"),
    producer: checkText("open.producer", open.producer, 128, 1),
    lease: open.lease
      ? {
          jobId: checkUuid("open.lease.job_id", open.lease.jobId),
          fencingToken: BigInt(
            checkInteger("open.lease.fencing_token", open.lease.fencingToken, 1, Number.MAX_SAFE_INTEGER),
          ),
        }
      : null,
  };
}
