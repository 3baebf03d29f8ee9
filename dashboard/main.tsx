import { render } from 'preact'
import { Dashboard } from './dashboard.tsx'

const root = document.getElementById('dashboard')
if (root) render(<Dashboard />, root)
