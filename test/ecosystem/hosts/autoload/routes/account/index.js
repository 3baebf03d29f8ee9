/** A folder is a prefix: these are under /v1/account. */
export { authRoutes as default } from '../../../../../../routes/auth/index.ts'
