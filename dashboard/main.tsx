import { render } from 'preact'
import { Console } from './console.tsx'

const root = document.getElementById('dashboard')
if (root) render(<Console />, root)
