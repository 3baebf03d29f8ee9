import { type Static, Type } from '@sinclair/typebox'

export const Live = Type.Object(
  { status: Type.Literal('ok', { description: 'Nothing else is answered under 200.' }) },
  {
    $id: 'StatefulLive',
    additionalProperties: false,
    description: 'The process answers.',
    examples: [{ status: 'ok' }],
  },
)
export type Live = Static<typeof Live>

export const Ready = Type.Object(
  {
    status: Type.Literal('ok', { description: 'Nothing else is answered under 200.' }),
    storage: Type.Union([Type.Literal('memory'), Type.Literal('lmdb'), Type.Literal('redis')], {
      description: 'The kind of storage that answered.',
    }),
  },
  {
    $id: 'StatefulReady',
    additionalProperties: false,
    description: 'The process can serve: its storage answers.',
    examples: [{ status: 'ok', storage: 'redis' }],
  },
)
export type Ready = Static<typeof Ready>
