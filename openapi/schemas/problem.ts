import { type Static, Type } from '@sinclair/typebox'

/** RFC 9457 problem document: what every error of every route looks like. */
export const Problem = Type.Object(
  {
    type: Type.String({ format: 'uri-reference', description: 'Names the kind of problem; one per code.' }),
    title: Type.String({ description: 'What happened, the same for every occurrence.' }),
    status: Type.Integer({ minimum: 400, maximum: 599, description: 'The status of the answer.' }),
    code: Type.String({ description: 'Stable, machine-readable. Listed in docs/errors.md.' }),
    detail: Type.Optional(Type.String({ description: 'What happened this time, and what to do.' })),
    errors: Type.Optional(
      Type.Array(
        Type.Object({
          path: Type.String({
            description:
              'The part of the request, and the place in it, as a JSON pointer. Below `/value`: of what a key would hold.',
          }),
          message: Type.String({ description: 'What is wrong there.' }),
        }),
        { description: 'Each place of the input that was refused.' },
      ),
    ),
    action: Type.Optional(
      Type.String({ description: 'What was refused, where the caller may not do it: docs/access.md lists them.' }),
    ),
    requestId: Type.String({ description: 'Quote it when you ask for help; it is in the log.' }),
  },
  {
    $id: 'StatefulProblem',
    additionalProperties: false,
    description:
      'What every error is answered with ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)). Program against `code`; `title` and `detail` are for people.',
    examples: [
      {
        type: 'urn:fastify-stateful:problem:not-found',
        title: 'Not Found',
        status: 404,
        code: 'STATEFUL_NOT_FOUND',
        detail: "There is no key 'theme' in space 'app'.",
        requestId: 'req-1',
      },
    ],
  },
)
export type Problem = Static<typeof Problem>
