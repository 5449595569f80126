// What an application does with ioredis, checked against the address given: `ioredis.mjs URL`.
import { equal, later, load, run, url, version } from './common.mjs'

const Redis = load('ioredis')
const [CART, ADS] = ['Shop.Cart:io', 'Ads.Profile:io']
const r = new Redis(url, { connectionName: 'check' })
const other = new Redis(url)

async function strings () {
  await r.del(`${CART}:n`, `${CART}:q`, `${ADS}:h`, `${ADS}:script`)
  equal(await r.set(`${CART}:s`, 'ü'), 'OK')
  equal(await r.get(`${CART}:s`), 'ü')
  equal(await r.get(`${CART}:none`), null)
  const big = Buffer.alloc(1 << 20, 255)
  await r.set(`${ADS}:b`, big)
  equal((await r.getBuffer(`${ADS}:b`)).equals(big), true)
  equal(await r.del(`${CART}:s`, `${ADS}:b`), 2)
}

async function pipeline () {
  const pipe = r.pipeline()
  for (let i = 0; i < 100; i++) {
    const key = `${i % 2 ? ADS : CART}:p:${i}`
    pipe.set(key, i).get(key)
  }
  const got = await pipe.exec()
  equal(got, Array.from({ length: 200 }, (_, i) => [null, i % 2 ? String((i - 1) / 2) : 'OK']))
}

async function several () {
  const pairs = {}
  for (let i = 0; i < 20; i++) pairs[`${i % 2 ? ADS : CART}:m:${i}`] = String(i)
  equal(await r.mset(pairs), 'OK')
  equal(await r.mget(...Object.keys(pairs), `${ADS}:none`), [...Object.values(pairs), null])
  equal(await r.del(...Object.keys(pairs)), 20)
}

async function transactions () {
  equal(await r.multi().set(`${CART}:t`, 1).incr(`${CART}:t`).exec(), [[null, 'OK'], [null, 2]])
  await r.watch(`${CART}:t`)
  await other.set(`${CART}:t`, 10)
  equal(await r.multi().incr(`${CART}:t`).exec(), null)
  equal(await r.get(`${CART}:t`), '10')
}

async function hashes () {
  equal(await r.hset(`${ADS}:h`, { a: '1', b: '2' }), 2)
  equal({ ...(await r.hgetall(`${ADS}:h`)) }, { a: '1', b: '2' })
  equal(await r.hdel(`${ADS}:h`, 'a'), 1)
}

async function expiry () {
  await r.set(`${CART}:e`, 1, 'EX', 100)
  const ttl = await r.ttl(`${CART}:e`)
  equal(ttl > 0 && ttl <= 100, true)
  equal(await r.persist(`${CART}:e`), 1)
  equal(await r.ttl(`${CART}:e`), -1)
}

async function channels () {
  const sub = r.duplicate()
  const [message, gotMessage] = later()
  const [pattern, gotPattern] = later()
  sub.on('message', (...args) => gotMessage(args))
  sub.on('pmessage', (...args) => gotPattern(args))
  equal(await sub.subscribe(`${CART}:news`), 1)
  equal(await sub.psubscribe(`${ADS}:*`), 2)
  equal(await r.publish(`${CART}:news`, 'one'), 1)
  equal(await message, [`${CART}:news`, 'one'])
  equal(await r.publish(`${ADS}:x`, 'two'), 1)
  equal(await pattern, [`${ADS}:*`, `${ADS}:x`, 'two'])
  await sub.unsubscribe(`${CART}:news`) // a bare one never ends in ioredis 5 while a pattern is left
  await sub.punsubscribe(`${ADS}:*`)
  await sub.quit()
}

async function blocking () {
  const blocker = r.duplicate()
  const popped = blocker.blpop(`${CART}:q`, 5)
  await other.rpush(`${CART}:q`, 'job')
  equal(await popped, [`${CART}:q`, 'job'])
  equal(await blocker.blpop(`${CART}:q`, 1), null)
  await blocker.quit()
}

async function scanning () {
  const wanted = []
  for (let i = 0; i < 50; i++) wanted.push(`${CART}:scan:${i}`, `${ADS}:scan:${i}`)
  await r.mset(...wanted.flatMap(key => [key, '1']))
  const seen = new Set()
  for await (const page of r.scanStream({ count: 7 })) page.forEach(key => seen.add(key))
  equal(wanted.filter(key => !seen.has(key)), [])
}

async function scripts () {
  r.defineCommand('addTo', { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])" })
  equal(await r.addTo(`${ADS}:script`, 4), 4)
  const error = await r.lpush(`${ADS}:script`, 1).catch(error => error)
  equal(error.message.startsWith('WRONGTYPE'), true)
  equal(await r.ping(), 'PONG')
}

await run(`ioredis ${version('ioredis')}`,
  [strings, pipeline, several, transactions, hashes, expiry, channels, blocking, scanning, scripts],
  async () => { await r.quit(); await other.quit() })
