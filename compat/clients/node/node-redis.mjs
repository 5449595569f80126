// What an application does with node-redis 4 to 6, checked against the address given: `node-redis.mjs URL [PROTOCOL]`.
import { equal, later, load, protocol, run, url, version } from './common.mjs'

const redis = load('redis')
const [CART, ADS] = ['Shop.Cart:node', 'Ads.Profile:node']
const options = { url, name: 'check', ...(protocol ? { RESP: Number(protocol) } : {}) }
const r = redis.createClient(options)
r.on('error', error => { console.error(error); process.exit(1) })
await r.connect()

async function strings () {
  await r.del([`${CART}:n`, `${CART}:q`, `${ADS}:h`, `${ADS}:script`])
  equal(await r.set(`${CART}:s`, 'ü'), 'OK')
  equal(await r.get(`${CART}:s`), 'ü')
  equal(await r.get(`${CART}:none`), null)
  const big = 'v'.repeat(1 << 20)
  await r.set(`${ADS}:b`, big)
  equal(await r.get(`${ADS}:b`), big)
  equal(await r.del([`${CART}:s`, `${ADS}:b`]), 2)
}

async function pipeline () {
  const answers = []
  for (let i = 0; i < 100; i++) {
    const key = `${i % 2 ? ADS : CART}:p:${i}`
    answers.push(r.set(key, String(i)), r.get(key)) // node-redis pipelines what is sent in one tick
  }
  equal(await Promise.all(answers), Array.from({ length: 200 }, (_, i) => i % 2 ? String((i - 1) / 2) : 'OK'))
}

async function several () {
  const pairs = {}
  for (let i = 0; i < 20; i++) pairs[`${i % 2 ? ADS : CART}:m:${i}`] = String(i)
  equal(await r.mSet(pairs), 'OK')
  equal(await r.mGet([...Object.keys(pairs), `${ADS}:none`]), [...Object.values(pairs), null])
  equal(await r.del(Object.keys(pairs)), 20)
}

async function transactions () {
  equal(await r.multi().set(`${CART}:t`, '1').incr(`${CART}:t`).exec(), ['OK', 2])
  const watcher = r.duplicate()
  watcher.on('error', () => {})
  await watcher.connect()
  await watcher.watch(`${CART}:t`)
  await r.set(`${CART}:t`, '10')
  const outcome = await watcher.multi().incr(`${CART}:t`).exec().catch(error => error)
  equal(outcome instanceof redis.WatchError, true)
  await watcher.quit()
  equal(await r.get(`${CART}:t`), '10')
}

async function hashes () {
  equal(await r.hSet(`${ADS}:h`, { a: '1', b: '2' }), 2)
  equal({ ...(await r.hGetAll(`${ADS}:h`)) }, { a: '1', b: '2' })
  equal(await r.hDel(`${ADS}:h`, 'a'), 1)
  await r.zAdd(`${ADS}:z`, { score: 1.5, value: 'm' })
  equal(await r.zScore(`${ADS}:z`, 'm'), 1.5)
}

async function expiry () {
  await r.set(`${CART}:e`, '1', { EX: 100 })
  const ttl = await r.ttl(`${CART}:e`)
  equal(ttl > 0 && ttl <= 100, true)
  await r.persist(`${CART}:e`)
  equal(await r.ttl(`${CART}:e`), -1)
}

async function channels () {
  const sub = r.duplicate()
  sub.on('error', () => {})
  await sub.connect()
  const [message, gotMessage] = later()
  const [pattern, gotPattern] = later()
  await sub.subscribe(`${CART}:news`, (...args) => gotMessage(args))
  await sub.pSubscribe(`${ADS}:*`, (...args) => gotPattern(args))
  equal(await r.publish(`${CART}:news`, 'one'), 1)
  equal(await message, ['one', `${CART}:news`])
  equal(await r.publish(`${ADS}:x`, 'two'), 1)
  equal(await pattern, ['two', `${ADS}:x`])
  await sub.unsubscribe(`${CART}:news`) // a bare one never ends in node-redis 4 while a pattern is left
  await sub.pUnsubscribe(`${ADS}:*`)
  await sub.quit()
}

async function blocking () {
  const blocker = r.duplicate()
  blocker.on('error', () => {})
  await blocker.connect()
  const popped = blocker.blPop(`${CART}:q`, 5)
  await r.rPush(`${CART}:q`, 'job')
  equal({ ...(await popped) }, { key: `${CART}:q`, element: 'job' })
  equal(await blocker.blPop(`${CART}:q`, 1), null)
  await blocker.quit()
}

async function scanning () {
  const wanted = []
  for (let i = 0; i < 50; i++) wanted.push(`${CART}:scan:${i}`, `${ADS}:scan:${i}`)
  await r.mSet(wanted.flatMap(key => [key, '1']))
  const seen = new Set()
  for await (const page of r.scanIterator({ COUNT: 7 })) [page].flat().forEach(key => seen.add(key))
  equal(wanted.filter(key => !seen.has(key)), [])
}

async function scripts () {
  const answer = await r.eval("return redis.call('INCRBY', KEYS[1], ARGV[1])", { keys: [`${ADS}:script`], arguments: ['4'] })
  equal(answer, 4)
  const error = await r.lPush(`${ADS}:script`, '1').catch(error => error)
  equal(error.message.startsWith('WRONGTYPE'), true)
  equal(await r.ping(), 'PONG')
}

await run(`node-redis ${version('redis')}${protocol ? ` RESP${protocol}` : ''}`,
  [strings, pipeline, several, transactions, hashes, expiry, channels, blocking, scanning, scripts],
  async () => { await r.quit() })
