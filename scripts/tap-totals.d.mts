export function totalsOf(report: string): { passed: number; failed: number; skipped: number; todo: number }
export function failuresOf(report: string): string[]
