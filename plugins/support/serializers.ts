import selectSerializer from '@fastify/fast-json-stringify-compiler'

type Factory = ReturnType<typeof selectSerializer>

/**
 * Fastify's serializers, compiled once for all statuses of a route that answer with the same schema, as those do that
 * answer with a problem: of 442 compilations of the reference server's boot 381 were of that one. For `schemaController`.
 */
export function sharedSerializers(): { compilersFactory: { buildSerializer: Factory } } {
  const build = selectSerializer()
  return {
    compilersFactory: {
      buildSerializer(externalSchemas, options) {
        const compile = build(externalSchemas, options)
        const compiled = new Map<string, ReturnType<typeof compile>>()
        return (route) => {
          const key = JSON.stringify(route.schema)
          const known = compiled.get(key) ?? compile(route)
          compiled.set(key, known)
          return known
        }
      },
    },
  }
}
