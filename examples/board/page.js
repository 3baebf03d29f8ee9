import { createClient } from 'fastify-stateful/client'

const element = (id) => document.getElementById(id)
const client = createClient({ baseUrl: location.origin })
const board = client.replica('board')
const presence = client.presence('board')

const name = element('name')
name.value = sessionStorage.getItem('name') ?? `Guest ${Math.floor(Math.random() * 900 + 100)}`
presence.update({ name: name.value })
name.addEventListener('change', () => {
  sessionStorage.setItem('name', name.value)
  presence.update({ name: name.value })
})

/** Shown at once; taken back by the replica itself if the server refuses it. */
async function write(written) {
  element('problem').textContent = ''
  try {
    await written
  } catch (error) {
    element('problem').textContent = error.message
  }
}

element('write').addEventListener('submit', (event) => {
  event.preventDefault()
  const text = element('text')
  if (text.value) write(board.set(`note:${Date.now()}:${crypto.randomUUID()}`, { text: text.value, by: name.value }))
  text.value = ''
})
element('like').addEventListener('click', () => write(board.increment('likes')))

board.subscribe(() => {
  const waiting = board.pending ? `, ${board.pending} to send` : ''
  element('status').textContent = `${board.status}${waiting}`
  element('status').classList.toggle('waiting', board.status !== 'live' || waiting !== '')
  element('likes').textContent = board.get('likes') ?? 0
  element('notes').replaceChildren(
    ...board
      .keys()
      .filter((key) => key.startsWith('note:'))
      .sort()
      .map((key) => noteOf(key, board.get(key))),
  )
})

function noteOf(key, { text, by }) {
  const item = document.createElement('li')
  const what = Object.assign(document.createElement('span'), { textContent: text })
  const who = Object.assign(document.createElement('b'), { textContent: by })
  const remove = Object.assign(document.createElement('button'), { type: 'button', textContent: 'Remove' })
  remove.setAttribute('aria-label', `Remove “${text}”`)
  remove.addEventListener('click', () => write(board.delete(key)))
  item.append(what, who, remove)
  return item
}

presence.subscribe(() => {
  element('people').textContent = presence
    .members()
    .map(({ data }) => data?.name ?? 'somebody')
    .join(', ')
})
