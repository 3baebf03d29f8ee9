/** What every contender keeps in a session and answers with. */
export function profileOf(user: string) {
  return { id: user, name: `The name of ${user}`, roles: ['reader', 'writer'], theme: 'dark' }
}
