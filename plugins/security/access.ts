/**
 * Who may do what: every action that the routes and the messages of a socket ask about, and what each is asked with.
 * An access token's scopes are names out of the same list.
 */

/** All that a question can name. */
interface Named {
  /** State space, also when it is the default one (`app`). */
  space: string
  /** Cache namespace, also when it is the default one (`default`). */
  namespace: string
  /** This very key. */
  key: string
  /** Everything whose name begins with this, now and later; `''`: all of it. */
  prefix: string
  /** All entries that carry this tag. */
  tag: string
  /** The user that a session or an account belongs to. */
  userId: string
  /** The name of a user that is to be created. */
  username: string
  /** A live connection. */
  node: string
  /** A write-behind handler, with all that waits for it. */
  writer: string
  /** Id of an access token. */
  token: string
  /** The name of an access token that is to be created. */
  name: string
  /** This instance, or all that share its storage. */
  scope: 'instance' | 'cluster'
  page: 'docs' | 'dashboard'
}

/** Names these and nothing else: what an action is not asked with is `undefined`. */
type Only<Names extends keyof Named> = Pick<Named, Names> & { [Other in Exclude<keyof Named, Names>]?: never }

/** One key, or all that begin with a prefix. Who may read a key may not therefore read what begins like it. */
export type Keys = Only<'space' | 'key'> | Only<'space' | 'prefix'>

/** What each action is asked about. */
export interface Resources {
  'state:describe': Only<'space'>
  'spaces:list': Only<'scope'>
  'state:list': Only<'space' | 'prefix'>
  'state:read': Only<'space' | 'key'>
  'state:snapshot': Only<'space'>
  'state:history': Only<'space'>
  'state:write': Only<'space' | 'key'>
  'state:restore': Only<'space'>
  'sync:read': Keys
  'sync:write': Keys
  'presence:read': Only<'space'>
  'presence:write': Only<'space'>
  'nodes:list': Only<'scope'>
  'nodes:disconnect': Only<'node'>
  'sync:trace': Only<'node'> | Only<'space'>
  'cache:read': Only<'namespace' | 'key'>
  'cache:list': Only<'namespace' | 'prefix'> | Only<'scope'>
  'cache:write': Only<'namespace' | 'key'>
  'cache:invalidate': Only<'namespace' | 'key'> | Only<'namespace' | 'prefix'> | Only<'namespace' | 'tag'>
  'cache:warm': Only<'namespace' | 'key'> | Only<'namespace' | 'prefix'>
  'writers:read': Only<'writer'> | Only<'scope'>
  'writers:retry': Only<'writer'>
  'stats:read': Only<'scope'>
  'stats:reset': Only<'scope'>
  'users:list': Only<'prefix'>
  'users:read': Only<'userId'>
  'users:write': Only<'userId'>
  'users:administer': Only<'userId'> | Only<'username'>
  'sessions:list': Only<'userId'>
  'sessions:revoke': Only<'userId'>
  'tokens:list': Only<'scope'>
  'tokens:create': Only<'name'>
  'tokens:revoke': Only<'token'>
  'audit:read': Only<'scope'>
  'docs:read': Only<'page'>
  'dashboard:read': Only<'page'>
}

/** What a request or a message wants to do. */
export type Action = keyof Resources

/**
 * What it wants to do it to. A question always names something: a rule that looks at `space`, `key` or `userId` is
 * never asked about nothing.
 */
export type Resource = Resources[Action]

/**
 * Who may do it when there is no rule of the application's: every session; the user whom it is about and
 * administrators; observers and administrators, where it only shows something; administrators alone.
 */
type Allowed = 'session' | 'owner' | 'observer' | 'administrator'

interface ActionInfo {
  /** The names of its resource, for people: one of these. */
  readonly about: readonly string[]
  readonly means: string
  readonly allowed: Allowed
}

/** Every action, with what it means. The order is that of docs/access.md. */
export const ACTIONS: { readonly [A in Action]: ActionInfo } = {
  'state:describe': {
    about: ['space'],
    means: 'Where a space stands: epoch, revision, number of keys, bytes.',
    allowed: 'session',
  },
  'spaces:list': { about: ['scope'], means: 'The names of all open spaces.', allowed: 'observer' },
  'state:list': { about: ['space prefix'], means: 'The names of keys, not what they hold.', allowed: 'session' },
  'state:read': { about: ['space key'], means: 'What a key holds.', allowed: 'session' },
  'state:snapshot': { about: ['space'], means: 'Everything that a space holds.', allowed: 'session' },
  'state:history': {
    about: ['space'],
    means: 'The retained commits of a space, deleted values among them.',
    allowed: 'session',
  },
  'state:write': { about: ['space key'], means: 'Set, merge, increment or delete a key.', allowed: 'administrator' },
  'state:restore': { about: ['space'], means: 'Replace everything that a space holds.', allowed: 'administrator' },
  'sync:read': {
    about: ['space key', 'space prefix'],
    means: 'Follow a key, a prefix or a space live, and catch up after a gap.',
    allowed: 'session',
  },
  'sync:write': {
    about: ['space key', 'space prefix'],
    means: 'Write a key over a live connection.',
    allowed: 'administrator',
  },
  'presence:read': { about: ['space'], means: 'Hear who follows a space.', allowed: 'session' },
  'presence:write': { about: ['space'], means: 'Show the others there something of oneself.', allowed: 'session' },
  'nodes:list': { about: ['scope'], means: 'List the live connections.', allowed: 'observer' },
  'nodes:disconnect': { about: ['node'], means: 'End a live connection.', allowed: 'administrator' },
  'sync:trace': {
    about: ['node', 'space'],
    means: 'See live which messages a connection or a space exchanges: their keys and sizes, not the values.',
    allowed: 'observer',
  },
  'cache:read': { about: ['namespace key'], means: 'Read an entry.', allowed: 'session' },
  'cache:list': {
    about: ['namespace prefix', 'scope'],
    means: 'The names of entries and what is known of them, not what they hold; of all namespaces, their numbers.',
    allowed: 'observer',
  },
  'cache:write': { about: ['namespace key'], means: 'Store or delete an entry.', allowed: 'administrator' },
  'cache:invalidate': {
    about: ['namespace key', 'namespace prefix', 'namespace tag'],
    means: 'Invalidate by key, pattern or tag; clear a namespace.',
    allowed: 'administrator',
  },
  'cache:warm': {
    about: ['namespace key', 'namespace prefix'],
    means: 'Take entries into the first level.',
    allowed: 'administrator',
  },
  'writers:read': {
    about: ['writer', 'scope'],
    means: 'List the write-behind handlers, what waits for one, and what it refused for good.',
    allowed: 'observer',
  },
  'writers:retry': {
    about: ['writer'],
    means: 'Hand refused writes to their handler again.',
    allowed: 'administrator',
  },
  'stats:read': {
    about: ['scope'],
    means: 'Hit rates and counts, as JSON and for Prometheus.',
    allowed: 'observer',
  },
  'stats:reset': { about: ['scope'], means: 'Set the counters of an instance back to 0.', allowed: 'administrator' },
  'users:list': { about: ['prefix'], means: 'List accounts.', allowed: 'observer' },
  'users:read': { about: ['userId'], means: 'Read an account.', allowed: 'session' },
  'users:write': {
    about: ['userId'],
    means: "Change an account's display name, email address and password.",
    allowed: 'owner',
  },
  'users:administer': {
    about: ['userId', 'username'],
    means: 'Create, disable and delete accounts; change username and role; set a password without the old one.',
    allowed: 'administrator',
  },
  'sessions:list': { about: ['userId'], means: "List another user's sessions.", allowed: 'observer' },
  'sessions:revoke': { about: ['userId'], means: "End another user's sessions.", allowed: 'administrator' },
  'tokens:list': { about: ['scope'], means: 'List access tokens, never the secret.', allowed: 'observer' },
  'tokens:create': { about: ['name'], means: 'Make an access token.', allowed: 'administrator' },
  'tokens:revoke': { about: ['token'], means: 'End an access token.', allowed: 'administrator' },
  'audit:read': { about: ['scope'], means: 'Read what administrators have changed lately.', allowed: 'observer' },
  'docs:read': { about: ['page'], means: 'Open the documentation in production.', allowed: 'observer' },
  'dashboard:read': {
    about: ['page'],
    means: 'Open the dashboard where it is not for everybody.',
    allowed: 'observer',
  },
}

/** Whether the role alone allows it, no matter on what. What belongs to the user is allowed besides. */
export function roleMay(role: string | undefined, action: Action): boolean {
  const { allowed } = ACTIONS[action]
  if (role === 'administrator' || allowed === 'session') return true
  return allowed === 'observer' && role === 'observer'
}

/** Whether a text names an action of this package, see {@link ACTIONS}. */
export function isAction(text: unknown): text is Action {
  return typeof text === 'string' && Object.hasOwn(ACTIONS, text)
}
