import type { Position } from '../../openapi/schemas/state.ts'

/** @param text `<epoch>.<revision>`; its form was checked by the route's schema */
export function positionOf(text: string | undefined): Position | undefined {
  if (text === undefined) return undefined
  const dot = text.lastIndexOf('.')
  return { epoch: text.slice(0, dot), revision: Number(text.slice(dot + 1)) }
}
