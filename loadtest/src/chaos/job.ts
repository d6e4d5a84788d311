/** Kind of the jobs that chaos is made with; the result of each is its own id. */
export const chaosKind = "chaos.work";
