// What every call passes first: who calls, and whether they may.
import type { DescMethod } from "@bufbuild/protobuf";
import type { Principal, Scope } from "../domain/scope.js";
import { type Access, requireScope } from "../services/access.js";

/** Workers act on effects of their jobs; others only on those that they claimed. */
const effectHolders: readonly Scope[] = ["effects:claim", "workers:attach"];

/** The scope that each method needs, or any of several. A method that is missing here cannot be called. */
export const methodScopes: Readonly<Record<string, Scope | readonly Scope[]>> = {
  "JobService.Submit": "jobs:submit",
  "JobService.SubmitBatch": "jobs:submit",
  "JobService.SubmitRun": "jobs:submit",
  "JobService.AddChildren": "jobs:submit",
  "JobService.GetDag": "jobs:read",
  "JobService.ListChildren": "jobs:read",
  "JobService.Get": "jobs:read",
  "JobService.List": "jobs:read",
  "JobService.Explain": "jobs:read",
  "JobService.Watch": "jobs:read",
  "JobService.Cancel": "jobs:cancel",
  "JobService.Retry": "jobs:operate",
  "JobService.Replay": "jobs:operate",
  "JobService.GetReplay": "jobs:read",
  "WorkerService.Attach": "workers:attach",
  "WorkerService.Claim": "workers:attach",
  "WorkerService.Renew": "workers:attach",
  "WorkerService.Report": "workers:attach",
  "WorkerService.Wait": "workers:attach",
  "EffectService.Claim": effectHolders,
  "EffectService.Renew": effectHolders,
  "EffectService.Complete": effectHolders,
  "EffectService.Release": effectHolders,
  // Without a token it needs jobs:operate, which the service looks at.
  "EffectService.Abandon": [...effectHolders, "jobs:operate"],
  "EffectService.Get": "jobs:read",
  "EffectService.List": "jobs:read",
  "SignalService.Publish": "signals:publish",
  "SignalService.Subscribe": "signals:subscribe",
  "SignalService.ConfigureChannel": "signals:operate",
  "SignalService.GetChannel": "signals:read",
  "SignalService.ListChannels": "signals:read",
  "SignalService.ListSignals": "signals:read",
  "SignalService.ListCursors": "signals:read",
  "SignalService.ResetCursor": "signals:operate",
  "InboxService.List": "jobs:read",
  "InboxService.Retry": "jobs:operate",
  "InboxService.Discard": "jobs:operate",
  "DeadLetterService.List": "jobs:read",
  "DeadLetterService.Get": "jobs:read",
  "DeadLetterService.ListClusters": "jobs:read",
  "DeadLetterService.Retry": "jobs:operate",
  "DeadLetterService.Resolve": "jobs:operate",
  "ScheduleService.Set": "limits:operate",
  "ScheduleService.Get": "jobs:read",
  "ScheduleService.List": "jobs:read",
  "ScheduleService.Pause": "limits:operate",
  "ScheduleService.Resume": "limits:operate",
  "ScheduleService.Delete": "limits:operate",
  "ScheduleService.Trigger": "limits:operate",
  "ScheduleService.PreviewTimes": "jobs:read",
  "BackfillService.Preview": "jobs:read",
  "BackfillService.Start": "limits:operate",
  "BackfillService.Get": "jobs:read",
  "BackfillService.List": "jobs:read",
  "BackfillService.ListWindows": "jobs:read",
  "BackfillService.Pause": "limits:operate",
  "BackfillService.Resume": "limits:operate",
  "BackfillService.Cancel": "limits:operate",
  "BackfillService.GetWatermark": "jobs:read",
  "BackfillService.ListWatermarks": "jobs:read",
  "FleetService.GetStatus": "fleet:read",
  "FleetService.ListSessions": "fleet:read",
  "EventService.GetForwarding": "fleet:read",
  "BudgetService.Set": "limits:operate",
  "BudgetService.Remove": "limits:operate",
  "BudgetService.Get": "jobs:read",
  "BudgetService.List": "jobs:read",
  "BudgetService.Pause": "limits:operate",
  "BudgetService.Resume": "limits:operate",
  "BudgetService.AccrueSpend": "limits:operate",
  "LimitService.Set": "limits:operate",
  "LimitService.Remove": "limits:operate",
  "ProductService.Get": "jobs:read",
  "ProductService.List": "jobs:read",
  "ProductService.SetWeights": "limits:operate",
  "LimitService.Get": "jobs:read",
  "LimitService.List": "jobs:read",
  "OperationService.List": "fleet:read",
  "AuditService.GetHead": "audit:read",
  "AuditService.Export": "audit:read",
  "AccessService.CreateKey": "access:admin",
  "AccessService.ListKeys": "access:admin",
  "AccessService.RevokeKey": "access:admin",
};

/** Lets a call in, or throws the Fault to answer it with. */
export type CallGuard = (method: DescMethod, authorization: string | null) => Promise<Principal>;

export function callGuard(access: Access): CallGuard {
  return async (method, authorization) => {
    const principal = await access.authenticate(authorization);
    const scope = methodScopes[`${method.parent.name}.${method.name}`];
    if (!scope) throw new Error(`No scope is declared for ${method.toString()}.`);
    requireScope(principal, scope);
    return principal;
  };
}
