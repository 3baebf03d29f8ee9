/** What the document says about the whole API; every route adds itself by its schema. */
export interface DocumentOptions {
  /** Default `fastify-stateful`. */
  title?: string
  /** Of the API. Default: the package's version. */
  version?: string
  /** Default: the origin that served the document. */
  servers?: { url: string; description?: string }[]
  /** The session cookie's name. Default `sessionId`. */
  cookieName?: string
}
