/** Who a session belongs to, told from its values: an id, or nothing while it is anonymous. */
export type IdentityOption = (session: Readonly<Record<string, unknown>>) => string | number | null | undefined

/** The identity as the engine keeps it; `undefined` while anonymous. */
export type IdentityOf = (session: object) => string | undefined

/**
 * The default: `session.user`, or what @fastify/passport keeps (`session.passport`; express's passport keeps
 * `session.passport.user`), if it is text or a number, and otherwise its `id` or `_id`.
 */
function byUser({ user, passport }: Readonly<Record<string, unknown>>): string | number | undefined {
  return idOfUser(user) ?? idOfUser((passport as { user?: unknown } | null | undefined)?.user) ?? idOfUser(passport)
}

function idOfUser(user: unknown): string | number | undefined {
  if (typeof user !== 'object' || user === null) return plain(user)
  const { id, _id } = user as { id?: unknown; _id?: unknown }
  return plain(id) ?? plain(_id) ?? plain(asKept(_id))
}

/** An id of a driver (MongoDB's) is an object whose JSON is text. */
function asKept(id: unknown): unknown {
  const { toJSON } = (id ?? {}) as { toJSON?: unknown }
  return typeof toJSON === 'function' ? toJSON.call(id) : undefined
}

function plain(id: unknown): string | number | undefined {
  return (typeof id === 'string' && id !== '') || Number.isFinite(id) ? (id as string | number) : undefined
}

/** @param given the option `user` */
export function identityBy(given: IdentityOption = byUser): IdentityOf {
  return (session) => {
    const id = plain(given(session as Record<string, unknown>))
    return id === undefined ? undefined : `${id}`
  }
}
