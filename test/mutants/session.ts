import type { Mutant } from '../checkers/mutation.ts'

const guarantees = 'test/plugins/session/guarantees.test.ts'
const inPlace = 'test/plugins/session/in-place.test.ts'
const cookies = 'test/plugins/session/cookies.test.ts'
const stores = 'test/plugins/session/stores.test.ts'
const shell = 'plugins/session/shell.ts'
const engine = 'plugins/session/sessions.ts'

export default [
  {
    guards: '10: a changed secret forgets what it verified',
    file: 'plugins/session/signer.ts',
    from: 'verified.clear()',
    to: '',
    suite: 'test/plugins/session/signer.test.ts',
  },
  {
    guards: '1: a save creates nothing',
    file: 'plugins/session/stores/save.lua',
    from: "if tonumber(current) <= now then return 'gone' end",
    to: '',
    suite: guarantees,
  },
  {
    guards: '1: what changed in an ended session is refused aloud',
    file: engine,
    from: 'if (changed) throw new SessionRevokedError()',
    to: '',
    suite: guarantees,
  },
  {
    guards: '2: an update compares the version',
    file: 'plugins/session/stores/memory.ts',
    from: "if (change.version !== undefined && change.version !== session.version) return 'conflict'",
    to: '',
    suite: guarantees,
  },
  {
    guards: '5: a limit counts what came in between',
    file: 'plugins/session/stores/create.lua',
    from: "if present < surplus then return {'again', surplus} end",
    to: '',
    suite: stores,
  },
  {
    guards: '5: ending all of a user names each, or begins again',
    file: 'plugins/session/stores/revoke.lua',
    from: "if id ~= kept and not named[id] then return 'again' end",
    to: '',
    suite: guarantees,
  },
  {
    guards: '6: a rotation keeps the absolute end',
    file: engine,
    from: 'const ends = begun?.ends ?? now + this.policy.absolute',
    to: 'const ends = now + this.policy.absolute',
    suite: guarantees,
  },
  {
    guards: '7: a use is recorded when it is due, not each time',
    file: engine,
    from: 'if (!due) this.#stats.touchesSkipped += 1\n    return due',
    to: 'return true || due',
    suite: guarantees,
  },
  {
    guards: '8: the store has the hash of a token, not the token',
    file: 'plugins/session/token.ts',
    from: "if (BUCKET.test(token)) return bucketOf(token) + hash.digest('base64url')",
    to: 'if (BUCKET.test(token)) return token',
    suite: guarantees,
  },
  {
    guards: '9: a request whose session ended leaves the cookie of its successor alone',
    file: shell,
    from: 'if (visit.ended) detach(session)\n',
    to: '',
    suite: guarantees,
  },
  {
    guards: '10: a cookie of a former secret is signed anew',
    file: shell,
    from: 'visit.cookieDue = !sameCookie',
    to: 'void sameCookie',
    suite: guarantees,
  },
  {
    guards: '3: a key that is gone is a change',
    file: 'plugins/session/changes.ts',
    from: 'return alike === Object.keys(texts).length',
    to: 'return alike <= Object.keys(texts).length',
    suite: guarantees,
  },
  {
    guards: '2: a save on Redis keeps what it does not name',
    file: 'plugins/session/stores/save.lua',
    from: 'if change == nil then add(name, text) elseif change then',
    to: 'if change then',
    suite: stores,
  },
  {
    guards: 'a session with a cookie of its own is made with it',
    file: shell,
    from: "if ('cookie' in texts || 'sessionId' in texts || 'encryptedSessionId' in texts) return false",
    to: '',
    suite: inPlace,
  },
  {
    guards: '11: a store that hangs is not waited for',
    file: 'plugins/session/guard.ts',
    from: '(this.#deadline > 0 ? this.#within(answer) : answer)',
    to: 'answer',
    suite: guarantees,
  },
  {
    guards: '13: what a failed handler changed is not saved',
    file: shell,
    from: 'visit.discard = true',
    to: 'visit.discard = false',
    suite: guarantees,
  },
  {
    guards: 'the options of one session stay with it',
    file: 'plugins/session/changes.ts',
    from: 'return cookie ? { ...values, cookie } : values',
    to: 'return cookie ? values : values',
    suite: inPlace,
  },
  {
    guards: 'a session lives no longer than its cookie',
    file: 'plugins/session/cookie.ts',
    from: 'if (originalMaxAge) return originalMaxAge',
    to: '',
    suite: inPlace,
  },
  {
    guards: 'decryptSession gives a session that saves into its own record',
    file: 'plugins/session/index.ts',
    from: 'if (!error) shell.adoptInto(request)',
    to: '',
    suite: inPlace,
  },
  {
    guards: 'a session that ended in a callback store is not read from there again',
    file: 'plugins/session/stores/callback.ts',
    from: 'this.#ended.set(id, now + TOMBSTONE_TTL)',
    to: '',
    suite: stores,
  },
  {
    guards: 'a cookie is cleared with its attributes',
    file: 'plugins/session/cookie.ts',
    from: '        ...attributes,\n        secure:',
    to: '        secure:',
    suite: cookies,
  },
  {
    guards: 'no cache keeps a cookie',
    file: 'plugins/session/cookie.ts',
    from: "if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store')",
    to: '',
    suite: cookies,
  },
  {
    guards: 'a record that is cut short is no session, and hangs nobody',
    file: 'plugins/session/stores/redis.ts',
    from: "if (end < 0) throw new SyntaxError('the record of a session is cut short')",
    to: "if (end < 0 && at > 1_000_000) throw new SyntaxError('the record of a session is cut short')\n    if (end < 0) at = record.length",
    suite: 'test/app/unreadable.test.ts',
  },
  {
    guards: 'what JSON would change is refused by name',
    file: 'plugins/session/record.ts',
    from: "if (text?.includes('null') || text?.includes('{}')) refuseLoss(key, value)",
    to: '',
    suite: 'test/plugins/session/values.test.ts',
  },
] satisfies Mutant[]
