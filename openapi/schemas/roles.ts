/** What accounts may be, as a list: for forms and command lines, which need no schema. */
export const ROLES = ['administrator', 'observer', 'user'] as const
