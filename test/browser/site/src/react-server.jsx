import { StrictMode } from 'react'
import { renderToString } from 'react-dom/server'

/** The same page on a server, and whatever was said about it. */
export async function render(snapshot) {
  globalThis.initial = { app: snapshot }
  // Its client begins with what the page is rendered from.
  const { App } = await import('./react-app.jsx')
  const problems = []
  const { error, warn } = console
  console.error = console.warn = (...parts) => problems.push(parts.join(' '))
  try {
    const html = renderToString(
      <StrictMode>
        <App />
      </StrictMode>,
    )
    return { html, problems }
  } finally {
    Object.assign(console, { error, warn })
  }
}
