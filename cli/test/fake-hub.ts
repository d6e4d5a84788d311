import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { AccessService } from "@holdfast/gen/holdfast/v1/access_service_pb";
import { AuditService } from "@holdfast/gen/holdfast/v1/audit_service_pb";
import { BackfillService } from "@holdfast/gen/holdfast/v1/backfill_service_pb";
import { BudgetService } from "@holdfast/gen/holdfast/v1/budget_service_pb";
import { DeadLetterService } from "@holdfast/gen/holdfast/v1/dead_letter_service_pb";
import { EffectService } from "@holdfast/gen/holdfast/v1/effect_service_pb";
import { EventService } from "@holdfast/gen/holdfast/v1/event_service_pb";
import { FleetService } from "@holdfast/gen/holdfast/v1/fleet_service_pb";
import { InboxService } from "@holdfast/gen/holdfast/v1/inbox_service_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { LimitService } from "@holdfast/gen/holdfast/v1/limit_service_pb";
import { OperationService } from "@holdfast/gen/holdfast/v1/operation_service_pb";
import { ProductService } from "@holdfast/gen/holdfast/v1/product_service_pb";
import { ScheduleService } from "@holdfast/gen/holdfast/v1/schedule_service_pb";

export interface FakeHub {
  readonly url: string;
  /** The authorization headers of the calls so far. */
  readonly credentials: (string | null)[];
  /** Cuts every connection, as a hub that is killed does. */
  cut(): void;
  stop(): Promise<void>;
}

export interface FakeServices {
  readonly jobs?: Partial<ServiceImpl<typeof JobService>>;
  readonly effects?: Partial<ServiceImpl<typeof EffectService>>;
  readonly inbox?: Partial<ServiceImpl<typeof InboxService>>;
  readonly deadLetters?: Partial<ServiceImpl<typeof DeadLetterService>>;
  readonly schedules?: Partial<ServiceImpl<typeof ScheduleService>>;
  readonly backfills?: Partial<ServiceImpl<typeof BackfillService>>;
  readonly fleet?: Partial<ServiceImpl<typeof FleetService>>;
  readonly events?: Partial<ServiceImpl<typeof EventService>>;
  readonly access?: Partial<ServiceImpl<typeof AccessService>>;
  readonly audit?: Partial<ServiceImpl<typeof AuditService>>;
  readonly limits?: Partial<ServiceImpl<typeof LimitService>>;
  readonly budgets?: Partial<ServiceImpl<typeof BudgetService>>;
  readonly operations?: Partial<ServiceImpl<typeof OperationService>>;
  readonly products?: Partial<ServiceImpl<typeof ProductService>>;
}

/** A hub of scripted answers on a free port; what is not scripted is UNIMPLEMENTED. */
export async function startFakeHub(services: FakeServices): Promise<FakeHub> {
  const { jobs, effects, inbox, deadLetters, fleet, events, access, limits, budgets, operations, products } =
    services;
  const { schedules, backfills, audit } = services;
  const credentials: (string | null)[] = [];
  const server = createServer(
    connectNodeAdapter({
      interceptors: [
        (next) => (request) => {
          credentials.push(request.header.get("authorization"));
          return next(request);
        },
      ],
      routes: (router) => {
        router.service(JobService, jobs ?? {});
        router.service(EffectService, effects ?? {});
        router.service(InboxService, inbox ?? {});
        router.service(DeadLetterService, deadLetters ?? {});
        router.service(ScheduleService, schedules ?? {});
        router.service(BackfillService, backfills ?? {});
        router.service(FleetService, fleet ?? {});
        router.service(EventService, events ?? {});
        router.service(AccessService, access ?? {});
        router.service(AuditService, audit ?? {});
        router.service(LimitService, limits ?? {});
        router.service(BudgetService, budgets ?? {});
        router.service(OperationService, operations ?? {});
        router.service(ProductService, products ?? {});
      },
    }),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    credentials,
    cut: () => server.closeAllConnections(),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** A refusal as a hub sends it: a status with google.rpc.ErrorInfo. */
export function refusal(
  code: Code,
  reason: string,
  message: string,
  metadata: Record<string, string> = {},
): ConnectError {
  const error = new ConnectError(message, code);
  error.details.push({ type: "google.rpc.ErrorInfo", value: encodeErrorInfo(reason, metadata) } as never);
  return error;
}

export const jobNotFound = (): ConnectError =>
  refusal(Code.NotFound, "JOB_NOT_FOUND", "There is no such job.", { job_id: "nope" });

function encodeErrorInfo(reason: string, metadata: Record<string, string>): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).string(reason);
  writer.tag(2, WireType.LengthDelimited).string("holdfast");
  for (const [key, value] of Object.entries(metadata)) {
    writer.tag(3, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(key).tag(2, WireType.LengthDelimited).string(value);
    writer.join();
  }
  return writer.finish();
}
