// What both node programs share: arguments, which module, comparing, the report of each part on a line of its own.
import { createRequire } from 'node:module'
import assert from 'node:assert/strict'

const [address, proto, keys, types] = process.argv.slice(2)
/** Address; 2 or 3; two beginnings of keys with a comma between; "all", or "strings+hashes". */
export const url = address
export const protocol = Number(proto)
export const [CART, ADS] = keys.split(',')
/** The library, from the folder that the runner installed it in. */
export const load = name => createRequire(process.env.CLIENT_DIR + '/')(name)
export const version = name => Number(load(name + '/package.json').version.split('.')[0])
export const equal = (got, wanted) => assert.deepStrictEqual(got, wanted)
export const either = i => i % 2 ? ADS : CART
export const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
/** 100 KiB: TiKV takes 128. */
export const big = Buffer.concat(Array.from({ length: 400 }, () => bytes))

/** The error that this promise ends with. */
export async function failure (promise) {
  const told = await promise.then(value => ({ value }), error => ({ error }))
  if (!told.error) throw new Error(`no error, but ${JSON.stringify(told.value)}`)
  return told.error
}

/** A promise, and the function that fulfils it. */
export function later () {
  let fulfil
  const promise = new Promise(resolve => { fulfil = resolve })
  return [promise, fulfil]
}

/** Ask until the answer is true; fails after ten seconds. */
export async function until (ask) {
  const end = Date.now() + 10000
  while (!(await ask())) equal(Date.now() < end, true)
}

/** As the programs in other languages call it. */
const name = part => part.name === 'speaks' ? 'protocol' : part.name.replace(/[A-Z]/g, letter => ' ' + letter.toLowerCase())

/**
 * Run the parts that every store has, then those that some lack: a pair of the part, and calls that are refused.
 * Each refused call must end with the library's error for an error reply; `ping` says that the client goes on.
 */
export async function run (everywhere, beyond, { isReply, ping, close }) {
  const parts = everywhere.map(part => [name(part), 'ok', part])
  for (const [part, ...calls] of beyond) {
    const lacking = async () => {
      for (const call of calls) {
        const error = await failure(call())
        equal([isReply(error), /is not supported by/.test(error.message)], [true, true])
        await ping()
      }
    }
    parts.push(types === 'all' ? [name(part), 'ok', part] : [name(part), 'unsupported', lacking])
  }
  let code = 0
  for (const [name, outcome, part] of parts) {
    let timer
    const late = new Promise((resolve, reject) => { timer = setTimeout(() => reject(new Error('no end after 20 s')), 20000) })
    try {
      await Promise.race([part(), late])
      console.log(`${name}: ${outcome}`)
    } catch (error) {
      code = 1
      console.log(`${name}: FAILED ${String(error.stack).replace(/\s+/g, ' ')}`)
    }
    clearTimeout(timer)
  }
  await close()
  process.exit(code)
}
