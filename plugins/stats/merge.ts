import { percentiles } from '../support/quantile.ts'
import { type Behaviour, behaviours, isHistogram, type Section } from './catalogue.ts'

type Numbers = Record<string, unknown>

/**
 * The numbers of a section of several instances as those of one: counters are added, averages weighted, what
 * all share taken once. One instance's numbers come back as they are.
 */
export function merge<T extends object>(section: Section, parts: readonly T[]): T {
  return mergeObjects(parts as readonly Numbers[], behaviours[section]) as T
}

function mergeObjects(parts: readonly Numbers[], behaviour: Behaviour): Numbers {
  const merged: Numbers = {}
  for (const field of new Set(parts.flatMap((part) => Object.keys(part)))) {
    const present = parts.filter((part) => part[field] !== undefined)
    merged[field] = mergeField(field, present, behaviour)
  }
  return isHistogram(merged) ? { ...merged, ...percentiles(merged.bounds, merged.counts) } : merged
}

function mergeField(field: string, parts: readonly Numbers[], behaviour: Behaviour): unknown {
  const values = parts.map((part) => part[field])
  const first = values[0]
  // Buckets only add up when all instances have the same; they do, unless versions are mixed.
  if (field === 'bounds') return first
  if (Array.isArray(first)) return addArrays(values as number[][])
  if (typeof first === 'object' && first !== null) return mergeObjects(values as Numbers[], behaviour)
  if (typeof first === 'boolean') return values.every(Boolean)
  if (typeof first !== 'number') return first

  const numbers = values as number[]
  const weight = behaviour.weighted[field]
  if (weight !== undefined)
    return average(
      numbers,
      parts.map((part) => Number(part[weight] ?? 0)),
    )
  if (behaviour.largest.includes(field)) return Math.max(...numbers)
  return numbers.reduce((sum, value) => sum + value, 0)
}

function addArrays(arrays: readonly number[][]): number[] {
  const length = Math.max(...arrays.map((array) => array.length))
  return Array.from({ length }, (_, i) => arrays.reduce((sum, array) => sum + (array[i] ?? 0), 0))
}

function average(values: readonly number[], weights: readonly number[]): number {
  if (values.length === 1) return values[0] ?? 0
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  if (total === 0) return 0
  return values.reduce((sum, value, i) => sum + value * (weights[i] ?? 0), 0) / total
}
