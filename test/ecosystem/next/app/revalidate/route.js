import { revalidateTag } from 'next/cache'

export async function POST(request) {
  revalidateTag('value', (await request.json()).profile)
  return new Response(null, { status: 204 })
}
