import { replicaHooks } from 'fastify-stateful/client/adapters'
import { useEffect, useState, useSyncExternalStore } from 'react'
import { client } from './client.js'

const { useKey, usePresence, useSpace, useStatus } = replicaHooks({ useEffect, useState, useSyncExternalStore })
const title = client.replica('app', { key: 'title' })

export function App() {
  const [here, setHere] = useState(true)
  return (
    <>
      <h1 id="title">{useKey(title, 'title')}</h1>
      {here && <Likes id="likes" />}
      {here && <Likes id="likes-too" />}
      {here && <People />}
      <button id="leave" type="button" onClick={() => setHere(false)}>
        Leave
      </button>
    </>
  )
}

function Likes({ id }) {
  const board = useSpace(client, 'board')
  return (
    <button id={id} type="button" data-status={useStatus(board)} onClick={() => board?.increment('likes')}>
      {useKey(board, 'likes') ?? 0}
    </button>
  )
}

function People() {
  const [presence, setPresence] = useState()
  useEffect(() => {
    const held = client.presence('board')
    setPresence(held)
    return () => held.close()
  }, [])
  return <p id="people">{usePresence(presence).length}</p>
}
