import { type Static, Type } from '@sinclair/typebox'

export const Live = Type.Object(
  { status: Type.Literal('ok') },
  { $id: 'Live', additionalProperties: false, description: 'The process answers.' },
)
export type Live = Static<typeof Live>

export const Ready = Type.Object(
  {
    status: Type.Literal('ok'),
    storage: Type.Union([Type.Literal('memory'), Type.Literal('lmdb'), Type.Literal('redis')], {
      description: 'The kind of storage that answered.',
    }),
  },
  { $id: 'Ready', additionalProperties: false, description: 'The process can serve: its storage answers.' },
)
export type Ready = Static<typeof Ready>
