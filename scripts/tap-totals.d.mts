export function totalsOf(report: string): { passed: number; failed: number; skipped: number; todo: number }
