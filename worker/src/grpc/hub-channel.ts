import { type ChannelOptions, Client, connectivityState, credentials, Metadata } from "@grpc/grpc-js";

/** How to reach hubs, and as whom. Plain values: they cross into the session's thread. */
export type HubAccess = {
  /** At least one, each "host:port", in the order in which they are tried. */
  readonly addresses: readonly string[];
  readonly apiKey: string | undefined;
  readonly tls: TlsAccess | undefined;
};

/** Certificates to trust instead of the system's, in PEM. */
export type TlsAccess = { readonly ca: string | undefined };

/** Payloads have limits of their own at the hub; a batch of them must never stop at the transport's 4 MiB. */
const messageBytesMax = 64 << 20;

const channelOptions: ChannelOptions = {
  "grpc.max_receive_message_length": messageBytesMax,
  "grpc.max_send_message_length": messageBytesMax,
  // Below the idle limits of common proxies, so that a quiet stream is not cut.
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 0,
  "grpc.enable_retries": 0,
  "grpc.service_config_disable_resolution": 1,
  // Connections of different channels are never shared: each channel starts afresh, without the backoff that
  // another one has run into.
  "grpc.use_local_subchannel_pool": 1,
  // The protocol's own window of 64 KiB would stop a batch of leases halfway for a round trip.
  "grpc-node.flow_control_window": 4 << 20,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 10_000,
};

/** A client of one hub. It connects when first used, and has to be closed. */
export function openChannel(access: HubAccess, address: string): Client {
  return new Client(address, channelCredentials(access.tls), channelOptions);
}

/** A client that is connected; undefined when the hub refuses the connection, or takes longer than that. */
export function reachHub(access: HubAccess, address: string, withinMs: number): Promise<Client | undefined> {
  const client = openChannel(access, address);
  const channel = client.getChannel();
  const giveUpAt = Date.now() + withinMs;
  return new Promise((resolve) => {
    const giveUp = () => {
      client.close();
      resolve(undefined);
    };
    const look = () => {
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.READY) return resolve(client);
      if (state === connectivityState.TRANSIENT_FAILURE) return giveUp();
      channel.watchConnectivityState(state, giveUpAt, (tooLate) => (tooLate ? giveUp() : look()));
    };
    look();
  });
}

function channelCredentials(tls: TlsAccess | undefined) {
  if (tls === undefined) return credentials.createInsecure();
  return credentials.createSsl(tls.ca === undefined ? null : Buffer.from(tls.ca));
}

/** Metadata of every call: the credential, if there is one. */
export function callMetadata(access: HubAccess): Metadata {
  const metadata = new Metadata();
  if (access.apiKey !== undefined) metadata.set("authorization", `Bearer ${access.apiKey}`);
  return metadata;
}
