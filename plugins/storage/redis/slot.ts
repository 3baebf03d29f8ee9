/** Slots of a Cluster. */
const SLOTS = 16_384
/** CRC-16/XMODEM, as the Cluster specification has it. */
const POLYNOMIAL = 0x1021

const table = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ POLYNOMIAL : crc << 1
  return crc
})

/** Of a key or a sharded channel: of what stands between its first braces, if anything does, else of all of it. */
export function slotOf(key: string): number {
  const open = key.indexOf('{')
  const close = key.indexOf('}', open + 1)
  const hashed = open >= 0 && close > open + 1 ? key.slice(open + 1, close) : key
  let crc = 0
  for (const byte of Buffer.from(hashed)) crc = (crc << 8) ^ (table[((crc >> 8) ^ byte) & 0xff] as number)
  return (crc & 0xffff) % SLOTS
}
