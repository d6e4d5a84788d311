import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { afterAll, expect, test } from "vitest";
import { startHub } from "../../src/main.js";
import { useHub } from "../harness/raw-hub.js";
import { submitOne } from "../harness/raw-jobs.js";
import { attachWorker } from "../harness/raw-worker.js";

const folder = mkdtempSync(join(tmpdir(), "holdfast-tls-"));
const [tlsCert, tlsKey] = [join(folder, "hub.crt"), join(folder, "hub.key")];
execFileSync(
  "openssl",
  [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"],
    ...["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
    ...["-keyout", tlsKey, "-out", tlsCert],
  ],
  { stdio: "ignore" },
);
afterAll(() => rm(folder, { recursive: true }));

const house = useHub({ tlsCert, tlsKey });
const ca = readFileSync(tlsCert);

test("with the two flags the gRPC port speaks TLS: a worker attaches and works", async () => {
  const client = house.client({ ca });
  const jobId = await submitOne(client);
  const worker = await attachWorker(client);
  worker.credit(1);
  const lease = await worker.lease();
  expect(lease.jobId).toBe(jobId);
  expect((await worker.succeed(lease)).verdict).toBe(1);
});

test("the HTTP port speaks TLS too, HTTP/1.1 and HTTP/2", async () => {
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const request = https.get(`https://${house.hub().httpAddress}/healthz`, { ca }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on("error", reject);
  });
  expect(status).toBe(200);
  const baseUrl = `https://${house.hub().httpAddress}`;
  const jobs = createClient(JobService, createGrpcTransport({ baseUrl, nodeOptions: { ca } }));
  expect((await jobs.list({})).jobs).toHaveLength(1);
});

test("plain text is not understood on either port, and does not hurt the hub", async () => {
  expect((await house.client().refused(JobService.method.list, {})).code).toBe(14);
  await expect(fetch(`http://${house.hub().httpAddress}/healthz`)).rejects.toThrow();
  await submitOne(house.client({ ca }), { kind: "other" });
});

test("one of the two flags alone is a mistake that the hub names", async () => {
  await expect(startHub({ tlsCert }, () => undefined)).rejects.toThrow(/--tls-cert and --tls-key/);
});
