import selectSerializer from '@fastify/fast-json-stringify-compiler'

type Factory = ReturnType<typeof selectSerializer>
type Serializer = (answer: unknown) => string

/**
 * Fastify's serializers, each compiled when the first answer needs it, and once for all statuses of a route that answer
 * with the same schema, as those do that answer with a problem: of 442 compilations of the reference server's boot 381
 * were of that one. For `schemaController`.
 */
export function sharedSerializers(): { compilersFactory: { buildSerializer: Factory } } {
  const build = selectSerializer()
  return {
    compilersFactory: {
      buildSerializer(externalSchemas, options) {
        const compile = build(externalSchemas, options)
        const serializers = new Map<string, Serializer>()
        return (route) => {
          const key = JSON.stringify(route.schema)
          let serializer = serializers.get(key)
          if (!serializer) {
            let compiled: Serializer | undefined
            serializer = (answer) => {
              compiled ??= compile(route)
              return compiled(answer)
            }
            serializers.set(key, serializer)
          }
          return serializer
        }
      },
    },
  }
}
