import { type TopicFilter, topicId } from './topic.ts'

/** Names a subscription within its connection. A space's name holds no blanks. */
export function subscriptionId(space: string, filter: TopicFilter): string {
  return `${space} ${topicId(filter)}`
}

/** Only the parts that are given, for `exactOptionalPropertyTypes`. */
export function filterOf({ key, prefix }: { key?: string | undefined; prefix?: string | undefined }): TopicFilter {
  return { ...(key === undefined ? {} : { key }), ...(prefix === undefined ? {} : { prefix }) }
}
