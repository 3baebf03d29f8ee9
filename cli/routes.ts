import { contract } from './openapi.ts'
import type { JsonOption } from './options.ts'
import { columns, Output } from './output.ts'
import type { Server } from './server.ts'

interface Operation {
  operationId: string
  summary?: string
  security?: { [scheme: string]: string[] }[]
}

interface Document {
  paths: { [path: string]: { [method: string]: Operation } }
}

/** Lists the routes, each with what a caller must be allowed to do. */
export async function routes(options: Partial<Server> & JsonOption): Promise<void> {
  const { paths } = (await contract('openapi', options)) as Document
  const list = Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      operation: operation.operationId,
      access: accessOf(operation),
    })),
  )
  const output = new Output(options)
  const rows = list.map(({ method, path, operation, access }) => [method, path, operation, access.join(', ')])
  output.result(list, columns([['METHOD', 'PATH', 'OPERATION', 'ACCESS'], ...rows]))
}

function accessOf({ security = [] }: Operation): string[] {
  if (security.length === 0) return ['anyone']
  const scopes = security.flatMap((scheme) => Object.values(scheme).flat())
  return scopes.length > 0 ? scopes : ['session']
}
