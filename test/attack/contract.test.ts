import t from 'tap'
import { Contract } from './contract.ts'
import type { Answer } from './exchange.ts'

const contract = new Contract()
const operation = (id: string) => contract.operations.find((one) => one.id === id)
const answer = (status: number, type: string | undefined, body: unknown = ''): Answer => ({
  status,
  headers: type === undefined ? {} : { 'content-type': type },
  body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
  complete: true,
})
const problem = (status: number, changes: object = {}) =>
  answer(status, 'application/problem+json', {
    ...{ type: 'urn:x', title: 'X', status, code: 'STATEFUL_X', requestId: 'req-1' },
    ...changes,
  })
const JSON_TYPE = 'application/json; charset=utf-8'

t.test('an answer that the contract has is none of our business', async (t) => {
  t.equal(contract.violation(operation('getLiveness'), answer(200, JSON_TYPE, { status: 'ok' })), undefined)
  t.equal(contract.violation(operation('logout'), answer(204, undefined)), undefined)
  t.equal(contract.violation(operation('login'), problem(401)), undefined)
  t.equal(contract.violation(operation('login'), problem(431)), undefined, 'HTTP itself may refuse')
  t.equal(contract.violation(undefined, problem(404)), undefined)
  t.equal(contract.violation(operation('getLiveness'), answer(200, JSON_TYPE), true), undefined, 'HEAD has no body')
})

t.test('anything else is a violation', async (t) => {
  const wrong: [string | undefined, Answer, RegExp][] = [
    ['getLiveness', answer(200, JSON_TYPE, { status: 'dead' }), /against its schema/],
    ['getLiveness', answer(200, JSON_TYPE, '{'), /no JSON/],
    ['getLiveness', answer(200, 'text/html', '{}'), /200 as text\/html/],
    ['getLiveness', answer(201, JSON_TYPE, {}), /undeclared status 201/],
    ['getLiveness', problem(404), /undeclared status 404/],
    ['logout', answer(204, undefined, 'x'), /a body beside 204/],
    ['login', problem(500), /something failed inside/],
    ['login', answer(400, JSON_TYPE, { error: 'Bad Request' }), /no problem document/],
    ['login', problem(400, { stack: 'x' }), /against its schema/],
    ['login', problem(400, { status: 401 }), /says 401 under 400/],
    ['login', problem(503, { detail: 'connect ECONNREFUSED 127.0.0.1:6379' }), /internals/],
    [undefined, answer(404, JSON_TYPE, {}), /no problem document/],
    [undefined, answer(408, undefined), /no problem document/],
  ]
  for (const [id, given, expected] of wrong) {
    t.match(contract.violation(id === undefined ? undefined : operation(id), given), expected, `${id} ${given.status}`)
  }
})
