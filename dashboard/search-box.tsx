import { useEffect, useState } from 'preact/hooks'

interface SearchBoxProps {
  label: string
  value: string
  placeholder?: string
  onSearch: (text: string) => void
}

export function SearchBox({ label, value, placeholder, onSearch }: SearchBoxProps) {
  const [typed, setTyped] = useState(value)
  useEffect(() => setTyped(value), [value])
  return (
    <form
      class="choice"
      onSubmit={(event) => {
        event.preventDefault()
        onSearch(typed)
      }}
    >
      <label class="choice">
        {label}
        <input
          type="search"
          value={typed}
          placeholder={placeholder}
          autocapitalize="none"
          spellcheck={false}
          onInput={(event) => setTyped(event.currentTarget.value)}
        />
      </label>
      <button type="submit">Search</button>
    </form>
  )
}
