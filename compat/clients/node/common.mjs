// What both node programs share: which module, which URL, comparing, the list of what was done.
import { createRequire } from 'node:module'
import assert from 'node:assert/strict'

export const [url, protocol] = process.argv.slice(2)
/** The library, from the folder that the runner installed it in. */
export const load = name => createRequire(process.env.CLIENT_DIR + '/')(name)
export const version = name => load(name + '/package.json').version
export const equal = (got, wanted) => assert.deepStrictEqual(got, wanted)
export const done = []

export async function run (title, checks, close) {
  const watchdog = setTimeout(() => { console.error(`no end after 60 s; done: ${done}`); process.exit(1) }, 60000)
  try {
    for (const check of checks) {
      await check()
      done.push(check.name)
    }
    await close()
  } catch (error) {
    console.error(`after ${done}: ${error.stack}`)
    process.exit(1)
  }
  clearTimeout(watchdog)
  console.log(`${title}: ok, ${done.join(', ')}`)
}

/** A promise, and the function that fulfils it. */
export function later () {
  let fulfil
  const promise = new Promise(resolve => { fulfil = resolve })
  return [promise, fulfil]
}
