import { connection } from 'next/server'
import { value } from '../../value.js'

export async function GET() {
  await connection()
  return Response.json(await value())
}
