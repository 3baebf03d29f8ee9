import { cacheLife, cacheTag } from 'next/cache'

export async function value() {
  'use cache'
  cacheTag('value')
  cacheLife('hours')
  return `${process.pid}-${Math.random()}`
}
