export { orders as default } from '../../../host.ts'
