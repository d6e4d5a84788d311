import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { jsonError, run } from "./run-cli.js";

let directory = "";
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "holdfast-arguments-"));
});
afterAll(() => rm(directory, { recursive: true }));

// Nothing listens there: a mistake that reached the network would be exit code 6.
const HUB = ["--hub", "http://127.0.0.1:1"];

describe("a mistake on the command line ends with code 2 and says what is right", () => {
  const cases: readonly (readonly [name: string, args: readonly string[], says: RegExp])[] = [
    ["no command", [], /A command is missing/],
    ["an unknown command", ["sumbit"], /Did you mean submit/],
    ["an unknown option", ["list", "--stat", "dead"], /Did you mean --state/],
    ["no kind", ["submit"], /The kind of the job is missing/],
    ["a payload that is not JSON", ["submit", "greet", "--payload", "{name: Ada}"], /not JSON.*Quote it/s],
    [
      "a payload file that is not there",
      ["submit", "greet", "--payload", "@/nowhere.json"],
      /nowhere\.json.*ENOENT/,
    ],
    ["a content type without payload", ["submit", "greet", "--content-type", "text/plain"], /Add --payload/],
    ["a time in words", ["submit", "greet", "--run-at", "tomorrow"], /write 2027-01-31T14:00:00Z, or \+10m/],
    ["a time without zone", ["submit", "greet", "--deadline", "2027-01-31T14:00:00"], /not a time/],
    ["an impossible date", ["submit", "greet", "--run-at", "2027-13-31T14:00:00Z"], /not a time/],
    ["a label without value", ["submit", "greet", "--label", "urgent"], /write key=value/],
    ["a label given twice", ["submit", "greet", "--label", "a=1", "--label", "a=2"], /"a" is given twice/],
    ["an unknown priority", ["submit", "greet", "--priority", "urgent"], /low, normal, high, critical/],
    ["too many attempts", ["submit", "greet", "--max-attempts", "1001"], /whole number from 1 to 1000/],
    ["a bad factor", ["submit", "greet", "--backoff-factor", "0.5"], /number from 1 to 100/],
    [
      "a share of no failures",
      ["limits", "breaker", "source:mailer", "--ratio", "0"],
      /"0" is not a number above 0, at most 1\./,
    ],
    [
      "a rate that may fall to nothing",
      ["limits", "rate", "source:mailer", "--per-second", "9", "--floor", "0.0"],
      /"0\.0" is not a number above 0, at most 1000000\./,
    ],
    ["a duration without unit", ["cancel", "x", "--grace", "30"], /write 250ms, 30s, 10m, 24h or 7d/],
    ["a timeout without --wait", ["submit", "greet", "--timeout", "1m"], /Add --wait/],
    ["an unknown state", ["list", "--state", "dead,lost"], /"lost" is not one of blocked/],
    ["an empty state", ["list", "--state", "dead,"], /empty value/],
    ["a limit of nothing", ["list", "--limit", "0"], /whole number from 1/],
    ["no job to watch", ["watch"], /missing required argument 'ids'/],
    ["too many jobs to watch", ["watch", ...Array.from({ length: 101 }, (_, i) => `${i}`)], /at most 100/],
    ["a key without subject", ["keys", "create", "--scope", "jobs:read"], /--subject/],
    ["no command for keys", ["keys"], /A command is missing/],
    ["no retention", ["retention"], /--keep/],
    ["a retention of hours", ["retention", "--keep", "36h"], /whole day/],
    ["a hub address without port", ["hub", "--grpc-listen", "localhost"], /HOST:PORT/],
    ["half of TLS", ["hub", "--tls-cert", "cert.pem"], /both --tls-cert and --tls-key/],
    ["a hub URL that is none", ["list", "--hub", "localhost:7421"], /not an http or https URL/],
    ["an authority that is not there", ["list", "--ca", "/nowhere.pem"], /nowhere\.pem cannot be read/],
    ["a directory that is not there", ["start", "/nowhere"], /\/nowhere cannot be scanned/],
    ["no workers", ["start", "--workers", "0"], /whole number from 1 to 64/],
  ];

  test.each(cases)("%s", async (_name, args, says) => {
    const withHub = args.includes("--hub") ? args : [...args, ...HUB];
    const text = await run(withHub);
    const json = await run([...withHub, "--json"]);
    expect(text).toMatchObject({ exitCode: EXIT.usage, stdout: "" });
    expect(text.stderr).toMatch(says);
    expect(text.stderr).toContain("next: ");
    expect(json).toMatchObject({ exitCode: EXIT.usage, stdout: "" });
    expect(jsonError(json)).toMatchObject({ reason: "USAGE", exitCode: EXIT.usage });
  });

  test("a project without installed packages is told to install them", async () => {
    const result = await run(["start", directory]);
    expect(result.exitCode).toBe(EXIT.usage);
    expect(result.stderr).toMatch(/no installed packages.*npm ci/s);
  });
});

describe("a mistake in a batch names the line and the field", () => {
  const cases: readonly (readonly [name: string, line: string, says: RegExp])[] = [
    ["no JSON", "{kind: greet}", /Line 2 is not JSON/],
    ["no object", '["greet"]', /Line 2 is not a JSON object/],
    ["no kind", '{"payload":1}', /Line 2 names no kind/],
    [
      "an unknown field",
      '{"kind":"greet","prority":"high"}',
      /Line 2: there is no field "prority".*priority/s,
    ],
    ["an inherited name", '{"kind":"greet","toString":"high"}', /there is no field "toString"/],
    ["a number for a text", '{"kind":7}', /Line 2, field "kind": a text is expected/],
    [
      "an unknown priority",
      '{"kind":"greet","priority":"urgent"}',
      /Line 2, field "priority": .*low, normal/,
    ],
    ["a bad time", '{"kind":"greet","runAt":"soon"}', /Line 2, field "runAt": "soon" is not a time/],
    ["a label of a number", '{"kind":"greet","labels":{"a":1}}', /Line 2, field "labels"/],
  ];

  test.each(cases)("%s", async (_name, line, says) => {
    const file = join(directory, "jobs.ndjson");
    await writeFile(file, `{"kind":"greet"}\n${line}\n`);
    const result = await run(["submit", "--batch", file, ...HUB]);
    expect(result).toMatchObject({ exitCode: EXIT.usage, stdout: "" });
    expect(result.stderr).toMatch(says);
  });

  test("a file that is not there", async () => {
    const result = await run(["submit", "--batch", join(directory, "none.ndjson"), ...HUB]);
    expect(result.exitCode).toBe(EXIT.usage);
    expect(result.stderr).toMatch(/--batch cannot be read: ENOENT/);
  });

  test("an empty file", async () => {
    const result = await run(["submit", "--batch", "-", ...HUB], { stdin: "\n\n" });
    expect(result.exitCode).toBe(EXIT.usage);
    expect(result.stderr).toMatch(/There is no job in -/);
  });

  test.each(["--payload={}", "--idempotency-key=k", "--wait"])("%s is for one job", async (option) => {
    const result = await run(["submit", "--batch", "-", option, ...HUB], { stdin: '{"kind":"greet"}\n' });
    expect(result.exitCode).toBe(EXIT.usage);
    expect(result.stderr).toMatch(/is for one job, not for a batch/);
  });
});
