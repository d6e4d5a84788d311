import { Option } from "commander";
import { collectWords } from "./list.js";

export const DEFAULT_GRPC_ADDRESSES = ["127.0.0.1:7420"] as const;

/** The option that says where the hubs speak gRPC. It has no default of commander's: that would be added to what is given. */
export function grpcAddressesOption(flag: string): Option {
  const [address] = DEFAULT_GRPC_ADDRESSES;
  return new Option(
    `${flag} <host:port>`,
    `gRPC address of the hub, or of several, with commas; default ${address}`,
  )
    .env("HOLDFAST_ADDRESS")
    .argParser(collectWords);
}
