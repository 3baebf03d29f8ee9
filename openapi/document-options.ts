/**
 * What an application says about its API, in the words of OpenAPI. Every route adds itself by its schema; the routes of
 * this package bring their own tags and security, which stand on them alone.
 */
export interface OpenApiOptions {
  /** Default: the title `API` and the version `1.0.0`, and nothing else. */
  info?: {
    title?: string
    version?: string
    summary?: string
    description?: string
    termsOfService?: string
    contact?: { name?: string; url?: string; email?: string }
    license?: { name: string; identifier?: string; url?: string }
  }
  /** Default: the origin that served the document. */
  servers?: { url: string; description?: string; variables?: Record<string, { default: string; enum?: string[] }> }[]
  /** Those of the application; one that is called as one of ours is describes it instead. */
  tags?: { name: string; description?: string; externalDocs?: { url: string; description?: string } }[]
  /** Of the application's operations that say nothing else. Name the schemes in `components`. Default none. */
  security?: Record<string, string[]>[]
  components?: { securitySchemes?: Record<string, object> }
  externalDocs?: { url: string; description?: string }
}
