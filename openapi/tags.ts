/** Of our operations; a document has those that it uses. */
export const tags: { name: string; description?: string }[] = [
  { name: 'auth', description: 'Log in and out, and the profile of who is logged in.' },
  { name: 'sessions', description: 'The sessions of the logged-in user: list them and end them.' },
  { name: 'users', description: 'Accounts, read through the cache.' },
  { name: 'tokens', description: 'Access tokens for machines: make, list and revoke them.' },
  { name: 'state', description: 'Application state: a log of revisions, of which every instance holds a replica.' },
  { name: 'cache', description: 'Entries of the multi-level cache, and their invalidation.' },
  { name: 'sync', description: 'Live synchronisation over WebSocket and server-sent events.' },
  { name: 'stats', description: 'Hit rates and counts of all services, as JSON and for Prometheus.' },
  { name: 'audit', description: 'What administrators have changed.' },
  { name: 'health', description: 'For load balancers and orchestrators.' },
  { name: 'documentation', description: 'The contract itself.' },
]
