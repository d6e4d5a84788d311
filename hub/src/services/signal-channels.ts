import {
  type Channel,
  type ChannelHead,
  type ChannelName,
  type ChannelPolicy,
  defaultPolicy,
  OwnerType,
} from "../domain/channel.js";
import { Fault } from "../domain/fault.js";
import type { Operator } from "../domain/operation.js";
import type { Principal } from "../domain/scope.js";
import type { SignalLedger } from "../ledger/signal-ledger.js";

/** How long a channel that was read is trusted: bounds the time until a policy set on another hub holds here. */
const trustChannelMs = 5_000;
const trustedChannelsMax = 20_000;
const countChannelsMs = 10_000;
/** Of one job or run: their channels are as many as there are jobs, and not among those that a tenant may have. */
const ownedChannelsMax = 100;

type ChannelLedger = Pick<
  SignalLedger,
  | "readChannel"
  | "insertChannel"
  | "configureChannel"
  | "listChannels"
  | "countChannels"
  | "countOwned"
  | "readHeads"
>;

type Tenant = Pick<Principal, "tenantId">;

export interface HeldChannel {
  readonly channel: Channel;
  readonly heads: readonly ChannelHead[];
}

/** Finds channels, and makes those that are published or subscribed to for the first time. */
export class SignalChannels {
  readonly #ledger: ChannelLedger;
  readonly #channelsMax: number;
  readonly #trusted = new Map<string, { readonly channel: Channel; readonly untilMs: number }>();
  readonly #counts = new Map<number, { channels: number; readonly untilMs: number }>();

  constructor(ledger: ChannelLedger, channelsMax: number) {
    this.#ledger = ledger;
    this.#channelsMax = channelsMax;
  }

  /** The channel, made with default policy and one partition when it is not there. */
  async ensure(principal: Principal, name: ChannelName): Promise<Channel> {
    return (
      (await this.#lookUp(principal, name)) ?? (await this.#make(principal, name, 1, defaultPolicy, null))
    );
  }

  /** @throws Fault CHANNEL_NOT_FOUND */
  async find(principal: Principal, name: ChannelName): Promise<Channel> {
    const channel = await this.#lookUp(principal, name);
    if (!channel)
      throw new Fault("CHANNEL_NOT_FOUND", `There is no channel ${name.name} of this owner.`, {
        channel: name.name,
      });
    return channel;
  }

  async configure(
    operator: Operator,
    name: ChannelName,
    partitions: number | null,
    policy: ChannelPolicy,
  ): Promise<HeldChannel> {
    const found = await this.#ledger.readChannel(operator.tenantId, name);
    const channel = found ?? (await this.#make(operator, name, partitions ?? 1, policy, operator));
    if (partitions !== null && channel.partitions !== partitions)
      throw new Fault(
        "INVALID_FIELD",
        `The channel has ${channel.partitions} partitions; their number never changes.`,
        { field: "partitions", value: String(channel.partitions) },
      );
    const configured = await this.#ledger.configureChannel(operator, channel.channelId, policy);
    this.#trusted.delete(keyOf(operator, name));
    return { channel: configured, heads: await this.#ledger.readHeads([configured.channelId]) };
  }

  async held(principal: Principal, name: ChannelName): Promise<HeldChannel> {
    const channel = await this.#ledger.readChannel(principal.tenantId, name);
    if (!channel) return { channel: await this.find(principal, name), heads: [] };
    return { channel, heads: await this.#ledger.readHeads([channel.channelId]) };
  }

  async list(principal: Principal, afterId: number, limit: number): Promise<HeldChannel[]> {
    const channels = await this.#ledger.listChannels(principal.tenantId, afterId, limit);
    const heads = await this.#ledger.readHeads(channels.map(({ channelId }) => channelId));
    return channels.map((channel) => ({
      channel,
      heads: heads.filter(({ channelId }) => channelId === channel.channelId),
    }));
  }

  async #lookUp(principal: Principal, name: ChannelName): Promise<Channel | null> {
    const key = keyOf(principal, name);
    const trusted = this.#trusted.get(key);
    if (trusted && trusted.untilMs > Date.now()) return trusted.channel;
    const channel = await this.#ledger.readChannel(principal.tenantId, name);
    if (this.#trusted.size >= trustedChannelsMax) this.#trusted.clear();
    if (channel) this.#trusted.set(key, { channel, untilMs: Date.now() + trustChannelMs });
    return channel;
  }

  /** @param operator null: nobody asked for it but who publishes or subscribes */
  async #make(
    tenant: Tenant,
    name: ChannelName,
    partitions: number,
    policy: ChannelPolicy,
    operator: Operator | null,
  ): Promise<Channel> {
    const { tenantId } = tenant;
    if (name.ownerType === OwnerType.Name) await this.#admit(tenant);
    else await this.#admitOwned(tenant, name);
    await this.#ledger.insertChannel(tenantId, name, partitions, policy, operator);
    const channel = await this.#ledger.readChannel(tenantId, name);
    if (channel) return channel;
    if (name.ownerType === OwnerType.Name) throw new Error("A channel was neither made nor found.");
    throw new Fault("JOB_NOT_FOUND", "There is no such job.", { job_id: name.owner });
  }

  async #admitOwned({ tenantId }: Tenant, name: ChannelName): Promise<void> {
    if ((await this.#ledger.countOwned(tenantId, name, ownedChannelsMax)) < ownedChannelsMax) return;
    throw new Fault("CHANNEL_LIMIT", `The job or run has ${ownedChannelsMax} channels.`, {
      limit: "ownedChannelsMax",
      value: String(ownedChannelsMax),
    });
  }

  /** The count is looked up now and then, so hubs together may pass the limit by what they make meanwhile. */
  async #admit({ tenantId }: Tenant): Promise<void> {
    let count = this.#counts.get(tenantId);
    if (!count || count.untilMs < Date.now()) {
      const channels = await this.#ledger.countChannels(tenantId, this.#channelsMax);
      count = { channels, untilMs: Date.now() + countChannelsMs };
      this.#counts.set(tenantId, count);
    }
    if (count.channels >= this.#channelsMax)
      throw new Fault("CHANNEL_LIMIT", `The tenant has ${this.#channelsMax} channels.`, {
        limit: "channelsPerTenantMax",
        value: String(this.#channelsMax),
      });
    count.channels += 1;
  }
}

function keyOf({ tenantId }: Tenant, { ownerType, owner, name }: ChannelName): string {
  return `${tenantId}/${ownerType}/${owner}/${name}`;
}
