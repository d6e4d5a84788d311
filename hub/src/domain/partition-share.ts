import { partitionHash } from "./channel.js";

/**
 * The partitions of one member of a group: everyone who knows the members computes the same. Each partition has one
 * member; members have as many as each other, or one more; and a member that comes or goes moves few partitions of the
 * others, for each partition goes to the member with the highest score that has room (rendezvous hashing, Thaler and
 * Ravishankar 1998, with a bound).
 */
export function partitionsOf(member: string, members: readonly string[], partitions: number): number[] {
  const least = Math.floor(partitions / members.length);
  let oneMore = partitions % members.length;
  const loads = new Map(members.map((one) => [one, 0]));
  const own: number[] = [];
  for (let partition = 0; partition < partitions; partition += 1) {
    const owner = members.filter(hasRoom).reduce((best, one) => {
      const [a, b] = [score(best, partition), score(one, partition)];
      return b > a || (b === a && one < best) ? one : best;
    });
    const load = (loads.get(owner) ?? 0) + 1;
    loads.set(owner, load);
    if (load > least) oneMore -= 1;
    if (owner === member) own.push(partition);
  }
  return own;

  function hasRoom(one: string): boolean {
    const load = loads.get(one) ?? 0;
    return load < least || (load === least && oneMore > 0);
  }
}

function score(member: string, partition: number): number {
  return partitionHash(`${partition}/${member}`);
}
