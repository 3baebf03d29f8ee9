/** How the latest action went, told to screen readers as well. */
export function Outcome({ outcome }: { outcome: { text: string; failed: boolean } | undefined }) {
  return (
    <p class={outcome?.failed ? 'outcome error' : 'outcome'} role="status">
      {outcome?.text ?? ''}
    </p>
  )
}

export function Problem({ text }: { text: string | undefined }) {
  return text ? (
    <p class="error" role="alert">
      {text}
    </p>
  ) : null
}
