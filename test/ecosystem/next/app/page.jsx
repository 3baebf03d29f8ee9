/** @jsxImportSource react */
import { connection } from 'next/server'
import { Suspense } from 'react'
import { value } from '../value.js'

async function Value() {
  await connection()
  return <p id="value">{await value()}</p>
}

export default function Page() {
  return (
    <Suspense>
      <Value />
    </Suspense>
  )
}
