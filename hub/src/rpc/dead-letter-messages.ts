// Dead letters between the wire and the domain.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  DeadLetterClusterSchema,
  DeadLetterFilter as DeadLetterFilterMessage,
  DeadLetterResultSchema,
  DeadLetterSchema,
} from "@holdfast/gen/holdfast/v1/dead_letter_service_pb";
import {
  type DeadLetter,
  type DeadLetterCluster,
  type DeadLetterFilter,
  type DeadLetterPlace,
  newestPlace,
} from "../domain/dead-letter.js";
import { FailureClass } from "../domain/failure-class.js";
import { isUuid } from "../domain/uuid.js";
import type { DeadLetterAnswer } from "../services/job-dead-letters.js";
import { checkEnum, checkName, checkText, checkTime, invalid } from "./check.js";
import { toRefusal } from "./errors.js";
import { optionalTime } from "./job-messages.js";
import { decodePageToken, encodePageToken } from "./page-token.js";

export function toFilter(message: DeadLetterFilterMessage | undefined): DeadLetterFilter {
  const name = (field: "product" | "queue" | "kind") =>
    message?.[field] ? checkName(`filter.${field}`, message[field]) : "";
  const fingerprint = message?.fingerprint ?? "";
  if (!/^([0-9a-f]{12})?$/.test(fingerprint))
    throw invalid("filter.fingerprint", "must be 12 hexadecimal digits");
  return {
    product: name("product"),
    queue: name("queue"),
    kind: name("kind"),
    code: checkText("filter.code", message?.code ?? "", 64),
    failureClass: message?.failureClass
      ? checkEnum("filter.failure_class", message.failureClass as number, FailureClass, null)
      : null,
    fingerprint,
    diedAfterMs: checkTime("filter.died_after", message?.diedAfter),
    diedBeforeMs: checkTime("filter.died_before", message?.diedBefore),
    withResolved: message?.withResolved ?? false,
  };
}

export function encodePlace(place: DeadLetterPlace | null, listed: unknown): string {
  return place === null ? "" : encodePageToken(`${place.diedAtMicros}/${place.jobId}`, listed);
}

/** @throws Fault INVALID_FIELD */
export function decodePlace(token: string, listed: unknown): DeadLetterPlace {
  if (token === "") return newestPlace;
  const [diedAtMicros = "", jobId = ""] = decodePageToken(token, listed).split("/");
  if (!/^\d{1,16}$/.test(diedAtMicros) || !isUuid(jobId)) throw invalid("page_token", "is damaged");
  return { diedAtMicros, jobId };
}

export function toLetterMessage(letter: DeadLetter): MessageInitShape<typeof DeadLetterSchema> {
  const { jobId, product, queue, kind, attempt, failure, failureClass, fingerprint, resolution } = letter;
  return {
    jobId,
    product,
    queue,
    kind,
    attempt,
    maxAttempts: letter.attemptsMax,
    ...optionalTime("submittedAt", letter.submittedAtMs),
    ...optionalTime("diedAt", letter.diedAtMs),
    failure: { code: failure.code, message: failure.message, permanent: failure.permanent },
    failureClass: failureClass as number,
    fingerprint,
    ...(resolution && {
      resolution: { by: resolution.by, note: resolution.note, ...optionalTime("at", resolution.atMs) },
    }),
  };
}

export function toClusterMessage(
  cluster: DeadLetterCluster,
): MessageInitShape<typeof DeadLetterClusterSchema> {
  const { failureClass, fingerprint, code, pattern, count, kinds, sample } = cluster;
  return {
    failureClass: failureClass as number,
    fingerprint,
    code,
    pattern,
    count,
    kinds: kinds.slice(0, 10),
    ...optionalTime("oldestDiedAt", cluster.oldestDiedAtMs),
    ...optionalTime("newestDiedAt", cluster.newestDiedAtMs),
    sample: toLetterMessage(sample),
  };
}

export function toResultMessage({
  jobId,
  fault,
}: DeadLetterAnswer): MessageInitShape<typeof DeadLetterResultSchema> {
  return { jobId, ...(fault && { refused: toRefusal(fault) }) };
}
