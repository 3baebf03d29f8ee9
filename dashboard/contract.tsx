const DOCUMENTS: readonly (readonly [href: string, name: string, text: string])[] = [
  ['docs', 'Swagger UI', 'All operations, to read and to try.'],
  ['openapi.json', 'OpenAPI 3.1', 'The contract of the HTTP routes, for generators of clients.'],
  ['asyncapi.json', 'AsyncAPI 3', 'The messages of the WebSocket and of the event stream.'],
  ['metrics', 'Metrics', 'The numbers of this instance for Prometheus.'],
  ['health/ready', 'Health', 'What a load balancer is told.'],
]

/** Where the contract is. */
export function Contract() {
  return (
    <ul class="links">
      {DOCUMENTS.map(([href, name, text]) => (
        <li key={href}>
          <a href={href}>{name}</a> <span class="muted">{text}</span>
        </li>
      ))}
    </ul>
  )
}
