import {
  DeadLetterService,
  type DeadLetterServiceRetryRequest,
  type JobIds,
} from "@holdfast/gen/holdfast/v1/dead_letter_service_pb";
import type { DeadLetterFilter } from "../domain/dead-letter.js";
import type { JobDeadLetters, RetryTarget } from "../services/job-dead-letters.js";
import { checkCount, checkPageSize, checkText, checkUuid, invalid } from "./check.js";
import {
  decodePlace,
  encodePlace,
  toClusterMessage,
  toFilter,
  toLetterMessage,
  toResultMessage,
} from "./dead-letter-messages.js";
import { type ImplementedService, implement } from "./implementation.js";

const actedOnMax = 500;
const clustersMax = 500;

export function deadLetterService(deadLetters: JobDeadLetters): ImplementedService {
  return implement(DeadLetterService, {
    async list(request, { principal }) {
      const filter = toFilter(request.filter);
      const limit = checkPageSize(request.pageSize);
      const listed = ["dead", principal.tenantId, filter];
      const after = decodePlace(request.pageToken, listed);
      const { letters, next } = await deadLetters.list(principal, filter, after, limit);
      return { letters: letters.map(toLetterMessage), nextPageToken: encodePlace(next, listed) };
    },

    async get(request, { principal }) {
      const letter = await deadLetters.get(principal, checkUuid("job_id", request.jobId));
      return { letter: toLetterMessage(letter) };
    },

    async listClusters(request, { principal }) {
      const { clusters, scanned, isTruncated } = await deadLetters.clusters(
        principal,
        toFilter(request.filter),
      );
      return {
        clusters: clusters.slice(0, clustersMax).map(toClusterMessage),
        letters: scanned,
        truncated: isTruncated,
      };
    },

    async retry(request, { principal }) {
      const reason = checkText("reason", request.reason, 1024);
      const listed = (filter: DeadLetterFilter) => ["retry", principal.tenantId, filter];
      const target = toTarget(request, listed);
      const { answers, next } = await deadLetters.retry(principal, target, reason, request.dryRun);
      return {
        results: answers.map(toResultMessage),
        nextPageToken: target.type === "filter" ? encodePlace(next, listed(target.filter)) : "",
      };
    },

    async resolve(request, { principal }) {
      const note = checkText("note", request.note, 1024, 1);
      const answers = await deadLetters.resolve(principal, toIds(request.jobs), note);
      return { results: answers.map(toResultMessage) };
    },
  });
}

function toIds(jobs: JobIds | undefined): readonly string[] {
  const jobIds = jobs?.jobIds ?? [];
  checkCount("jobs.job_ids", jobIds.length, 1, actedOnMax);
  if (new Set(jobIds).size < jobIds.length) throw invalid("jobs.job_ids", "must name each job once");
  return jobIds.map((jobId, at) => checkUuid(`jobs.job_ids[${at}]`, jobId));
}

function toTarget(
  { target, pageSize, pageToken }: DeadLetterServiceRetryRequest,
  listed: (filter: DeadLetterFilter) => unknown,
): RetryTarget {
  switch (target.case) {
    case "jobs":
      if (pageToken !== "") throw invalid("page_token", "must be empty without a filter");
      return { type: "ids", jobIds: toIds(target.value) };
    case "filter": {
      const filter = toFilter(target.value);
      if (filter.withResolved) throw invalid("filter.with_resolved", "must not be set");
      const after = decodePlace(pageToken, listed(filter));
      return { type: "filter", filter, after, limit: checkPageSize(pageSize) };
    }
    case undefined:
      throw invalid("target", "is required: jobs or filter");
  }
}
