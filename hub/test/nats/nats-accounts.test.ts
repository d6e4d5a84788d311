import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, it, vi } from "vitest";
import { defaultNatsLinkSettings, startNatsLink } from "../../src/nats/nats-link.js";
import { useNats } from "../harness/nats.js";

describe("NATS that asks who is there", () => {
  const nats = useNats({ configuration: 'authorization { user: ada, password: "s@fe" }' });

  const linkAs = async (credentials: string, lines: string[] = []) =>
    await startNatsLink(
      {
        ...defaultNatsLinkSettings,
        url: nats.url().replace("://", `://${credentials}`),
        name: "test",
        firstWaitMs: 500,
      },
      (line) => lines.push(line),
    );

  it("is reached with the credentials in the URL", async () => {
    const link = await linkAs("ada:s%40fe@");

    expect(link.state.status).toBe("up");
    await link.close();
  });

  it.each(["", "ada:wrong@", "token@"])(
    "is asked again and again with %j, which is said once, without the secret",
    async (credentials) => {
      const lines: string[] = [];
      const link = await linkAs(credentials, lines);

      await vi.waitFor(
        () => expect(lines.join("\n")).toMatch(/NATS cannot be reached: .*Authorization/i),
        20_000,
      );

      expect(link.state.status).toBe("connecting");
      expect(lines.filter((line) => line.includes("cannot be reached"))).toHaveLength(1);
      expect(lines.join("\n")).not.toMatch(/wrong|token/);
      await link.close();
    },
  );
});

describe("NATS that speaks TLS", () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-nats-tls-"));
  const [certificate, key] = [join(folder, "nats.crt"), join(folder, "nats.key")];
  execFileSync(
    "openssl",
    [
      ...[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "1",
      ],
      ...["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
      ...["-keyout", key, "-out", certificate],
    ],
    { stdio: "ignore" },
  );
  afterAll(() => rm(folder, { recursive: true }));
  const nats = useNats({
    configuration: `tls { cert_file: ${JSON.stringify(certificate)}, key_file: ${JSON.stringify(key)} }`,
  });

  /** In a process of its own: Node reads the authorities that it trusts when it starts. */
  async function statusWith(environment: NodeJS.ProcessEnv): Promise<string> {
    const built = fileURLToPath(new URL("../../dist/nats/nats-link.js", import.meta.url));
    const url = nats.url().replace("nats://127.0.0.1", "tls://localhost");
    const settings = { ...defaultNatsLinkSettings, url, name: "test", firstWaitMs: 5_000 };
    const program = `
      const { startNatsLink } = await import(${JSON.stringify(built)});
      const link = await startNatsLink(${JSON.stringify(settings)}, () => undefined);
      console.log(link.state.status);
      await link.close();`;
    const env = { ...process.env, ...environment };
    const args = ["--input-type=module", "--eval", program];
    return (await promisify(execFile)(process.execPath, args, { env })).stdout.trim();
  }

  it("is reached by those who trust its certificate, and by nobody else", async () => {
    expect(await statusWith({ NODE_EXTRA_CA_CERTS: certificate })).toBe("up");
    expect(await statusWith({})).toBe("connecting");
  });
});
