import { StrictMode } from 'react'
import { createRoot, hydrateRoot } from 'react-dom/client'
import { App } from './react-app.jsx'

const page = (
  <StrictMode>
    <App />
  </StrictMode>
)
const element = document.getElementById('app')
if (element.firstChild) hydrateRoot(element, page)
else createRoot(element).render(page)
