import type { Command } from "commander";
import { DEFAULT_GRPC_ADDRESSES, grpcAddressesOption } from "../arguments/addresses.js";
import type { Check } from "../doctor/check.js";
import { checkMachine } from "../doctor/machine.js";
import { EXIT } from "../exit-codes.js";
import { addHubOptions, readConfig } from "../hub-options.js";
import { type Cli, perform } from "../invocation.js";
import type { Paint } from "../paint.js";
import { formatRows } from "../table.js";

const AFTER_HELP = `
Looks at this machine (Node.js, disk, open files), at both ports of the hub, at its ledger and at the clocks.
With the hubs of a fleet in --grpc, each of their gRPC ports. Every finding that is not ok says what to do.
Exits 8 when something fails; warnings do not count.

Examples:
  $ holdfast doctor
  $ holdfast doctor --hub https://hub.example:7421 --grpc hub.example:7420 --ca ca.pem
  $ holdfast doctor --grpc hub-a:7420,hub-b:7420,hub-c:7420
  $ holdfast doctor --json | jq '.checks[] | select(.status != "ok")'`;

interface DoctorFlags {
  readonly grpc?: readonly string[];
  readonly dataDir?: string;
}

export function addDoctorCommand(program: Command, cli: Cli): void {
  addHubOptions(program.command("doctor").description("check the machine, the hub and its ledger"), [
    "dataDir",
  ])
    .addOption(grpcAddressesOption("--grpc"))
    .addHelpText("after", AFTER_HELP)
    .action((flags: DoctorFlags, command: Command) =>
      perform(cli, command, async ({ io, output, globals, connection }) => {
        const { dataDir } = readConfig({ dataDir: flags.dataDir }, io);
        const addresses = flags.grpc ?? DEFAULT_GRPC_ADDRESSES;
        const hub = connection();
        // Loaded when needed: it brings the gRPC client, which no other command should pay for.
        const { askGrpcHealth } = await import("../doctor/grpc-health.js");
        const { checkHub, judgeGrpc } = await import("../doctor/hub.js");
        const tls = hub.hubUrl.startsWith("https:") ? { caFile: globals.ca } : undefined;
        const checks = [
          ...(await checkMachine(dataDir)),
          ...(await checkHub(hub, io.nowMs)),
          ...(await Promise.all(
            addresses.map(async (address) => judgeGrpc(address, await askGrpcHealth(address, tls))),
          )),
        ];
        const isHealthy = checks.every(({ status }) => status !== "fail");
        output.document({ isHealthy, checks: checks.map((check) => ({ ...check })) }, () =>
          checksText(checks, output.paint),
        );
        return isHealthy ? EXIT.ok : EXIT.doctorFailed;
      }),
    );
}

function checksText(checks: readonly Check[], paint: Paint): string {
  const mark = { ok: paint.good("ok"), warn: paint.warn("warn"), fail: paint.bad("fail") };
  return formatRows(
    checks.flatMap(({ name, status, detail, next }) => [
      [mark[status], name, detail],
      ...(next === undefined ? [] : [["", "", paint.faint(`→ ${next}`)]]),
    ]),
  );
}
