/** Why the server ends a WebSocket. Part of the contract: clients decide by it whether to come back. */
export const closeCodes = {
  1001: 'The server is closing or an administrator disconnected the node: reconnect with back-off.',
  1003: 'A binary frame: only JSON text is understood.',
  1007: 'A frame that is not JSON, or not UTF-8.',
  1008: 'Too many refused messages, or what the connection was opened for is refused for good; an error says why.',
  1009: 'A message above the payload limit.',
  1011: 'An unexpected failure; reconnect with back-off.',
  1013: 'The client was too slow for too long, or there is no room for it now: reconnect later and resume.',
  4401: 'There is no session, or it ended: log in before you reconnect.',
  4403: 'What the session may do has changed: reconnect, and get what it may have now.',
  4406: 'No common protocol version.',
  4408: 'Nothing was heard from the client for two heartbeat intervals.',
} as const

export type CloseCode = keyof typeof closeCodes
