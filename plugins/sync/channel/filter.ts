/** The part of a space that a subscription follows. Neither: all of it. */
export interface TopicFilter {
  key?: string
  prefix?: string
}

/** Only the parts that are given, for `exactOptionalPropertyTypes`. */
export function filterOf({ key, prefix }: { key?: string | undefined; prefix?: string | undefined }): TopicFilter {
  return { ...(key === undefined ? {} : { key }), ...(prefix === undefined ? {} : { prefix }) }
}

/** Tells topics of one space apart. */
export function topicId({ key, prefix }: TopicFilter): string {
  if (key !== undefined) return `k${key}`
  return prefix === undefined ? '' : `p${prefix}`
}

/** Names a subscription within its connection. A space's name holds no blanks. */
export function subscriptionId(space: string, filter: TopicFilter): string {
  return `${space} ${topicId(filter)}`
}
