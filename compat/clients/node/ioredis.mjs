// What an application does with ioredis 5 and 6, by its own means. See common.mjs for its arguments.
import { ADS, CART, big, bytes, either, equal, failure, later, load, protocol, run, until, url, version } from './common.mjs'

const Redis = load('ioredis')
const options = { connectionName: 'check', ...(version('ioredis') >= 6 ? { protocol } : {}) }
const open = []
const connect = more => {
  const client = new Redis(url, { ...options, ...more })
  client.on('error', () => {}) // lost connections come back by themselves
  open.push(client)
  return client
}
const r = connect()
const other = connect()

async function speaks () {
  equal(/ resp=(\d)/.exec(await r.client('INFO'))[1], String(protocol))
}

async function strings () {
  equal(await r.set(`${CART}:s`, 'ü'), 'OK')
  equal([await r.get(`${CART}:s`), await r.get(`${CART}:none`)], ['ü', null])
  for (const value of [Buffer.alloc(0), bytes, big]) {
    await r.set(Buffer.concat([Buffer.from(`${ADS}:b`), bytes.subarray(0, 64)]), value)
    equal((await r.getBuffer(Buffer.concat([Buffer.from(`${ADS}:b`), bytes.subarray(0, 64)]))).equals(value), true)
  }
  equal(await r.del(`${CART}:s`, `${ADS}:none`), 1)
}

async function pipeline () {
  const pipe = r.pipeline()
  for (let i = 0; i < 100; i++) pipe.set(`${either(i)}:p:${i}`, i).get(`${either(i)}:p:${i}`)
  const got = await pipe.hget(`${CART}:p:0`, 'f').exec()
  equal(got.slice(0, 200), Array.from({ length: 200 }, (_, i) => [null, i % 2 ? String((i - 1) / 2) : 'OK']))
  equal(got[200][0].message.startsWith('WRONGTYPE'), true)
}

async function several () {
  const pairs = {}
  for (let i = 0; i < 20; i++) pairs[`${either(i)}:m:${i}`] = String(i)
  equal(await r.mset(pairs), 'OK')
  equal(await r.mget(...Object.keys(pairs), `${ADS}:none`), [...Object.values(pairs), null])
  equal([await r.exists(...Object.keys(pairs)), await r.del(...Object.keys(pairs))], [20, 20])
}

async function pool () { // ioredis has none; applications keep several clients, and send without waiting
  const clients = Array.from({ length: 8 }, () => connect({ enableAutoPipelining: true }))
  const got = await Promise.all(Array.from({ length: 200 }, (_, i) => clients[i % 8].incr(`${CART}:n`)))
  equal(got.sort((a, b) => a - b), Array.from({ length: 200 }, (_, i) => i + 1))
}

async function transactions () {
  equal(await r.multi().set(`${CART}:t`, 1).incr(`${CART}:t`).exec(), [[null, 'OK'], [null, 2]])
  await r.watch(`${CART}:t`)
  await other.set(`${CART}:t`, 10)
  equal(await r.multi().incr(`${CART}:t`).exec(), null)
  await r.watch(`${CART}:t`)
  equal(await r.multi().incr(`${CART}:t`).exec(), [[null, 11]])
}

async function hashes () {
  const fields = Object.fromEntries(Array.from({ length: 250 }, (_, i) => [`f${i}`, `v${i}`]))
  equal(await r.hset(`${ADS}:h`, fields), 250)
  equal({ ...(await r.hgetall(`${ADS}:h`)) }, fields)
  const seen = {}
  for await (const page of r.hscanStream(`${ADS}:h`, { count: 20 })) {
    for (let i = 0; i < page.length; i += 2) seen[page[i]] = page[i + 1]
  }
  equal(seen, fields)
  equal([await r.hdel(`${ADS}:h`, 'f1', 'none'), await r.hincrby(`${ADS}:h`, 'n', 5)], [1, 5])
}

async function expiry () {
  await r.set(`${CART}:e`, 1, 'EX', 100)
  const ttl = await r.ttl(`${CART}:e`)
  equal([ttl > 0 && ttl <= 100, await r.persist(`${CART}:e`), await r.ttl(`${CART}:e`)], [true, 1, -1])
  await r.pexpire(`${CART}:e`, 20)
  await until(async () => await r.exists(`${CART}:e`) === 0)
}

async function scanning () {
  const wanted = Array.from({ length: 100 }, (_, i) => `${either(i)}:scan:${i}`)
  await r.mset(...wanted.flatMap(key => [key, '1']))
  const seen = new Set()
  for await (const page of r.scanStream({ count: 7 })) page.forEach(key => seen.add(key))
  equal(wanted.filter(key => !seen.has(key)), [])
  const matched = new Set()
  for await (const page of r.scanStream({ match: `${ADS}:scan:*` })) page.forEach(key => matched.add(key))
  equal([...matched].sort(), wanted.filter(key => key.startsWith(ADS)).sort())
}

const isReply = error => error instanceof Redis.ReplyError

async function errors () {
  await r.set(`${CART}:wrong`, 'x')
  const error = await failure(r.hset(`${CART}:wrong`, 'f', 1))
  equal([isReply(error), error.message.startsWith('WRONGTYPE'), await r.get(`${CART}:wrong`)], [true, true, 'x'])
}

async function reconnect () {
  const own = connect()
  const before = await own.client('ID')
  equal(await r.client('KILL', 'ID', before), 1)
  equal(await own.set(`${CART}:again`, 1), 'OK')
  equal(await own.client('ID') !== before, true)
}

async function lists () {
  const blocker = r.duplicate()
  open.push(blocker)
  const popped = blocker.blpop(`${CART}:q`, 10)
  await other.rpush(`${CART}:q`, 'job')
  equal(await popped, [`${CART}:q`, 'job'])
  equal(await blocker.blpop(`${CART}:q`, 0.1), null)
}

async function sortedSets () {
  equal([await r.sadd(`${ADS}:u`, 'x', 'y'), (await r.smembers(`${ADS}:u`)).sort()], [2, ['x', 'y']])
  equal([await r.zadd(`${ADS}:z`, 1.5, 'm'), await r.zscore(`${ADS}:z`, 'm')], [1, '1.5'])
}

async function channels () {
  const sub = connect({ connectionName: 'subscriber' })
  const [message, gotMessage] = later()
  const [pattern, gotPattern] = later()
  let back = false
  sub.on('messageBuffer', (channel, text) => text.toString() === 'back' ? (back = true) : gotMessage(text))
  sub.on('pmessage', (...args) => gotPattern(args))
  equal([await sub.subscribe(`${CART}:news`), await sub.psubscribe(`${ADS}:*`)], [1, 2])
  equal([await r.publish(`${CART}:news`, bytes), await r.publish(`${ADS}:x`, 'two')], [1, 1])
  equal((await message).equals(bytes), true)
  equal(await pattern, [`${ADS}:*`, `${ADS}:x`, 'two'])
  const id = /id=(\d+) .*name=subscriber/.exec(await r.client('LIST'))[1]
  equal(await r.client('KILL', 'ID', id), 1)
  await until(async () => { // it subscribes again by itself; until then messages are lost
    await r.publish(`${CART}:news`, 'back')
    return back
  })
  await sub.unsubscribe(`${CART}:news`) // a bare one never ends in ioredis 5 while a pattern is left
  await sub.punsubscribe(`${ADS}:*`)
}

async function scripts () {
  r.defineCommand('addTo', { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])" })
  equal([await r.addTo(`${ADS}:script`, 4), await r.addTo(`${ADS}:script`, 4)], [4, 8])
}

await run(
  [speaks, strings, pipeline, several, pool, transactions, hashes, expiry, scanning, errors, reconnect],
  [
    [lists, () => r.rpush(`${CART}:q`, 'x'), () => r.blpop(`${CART}:q`, 1)],
    [sortedSets, () => r.zadd(`${ADS}:z`, 1.5, 'm'), () => r.sadd(`${ADS}:u`, 'x')],
    [channels, () => r.publish(`${CART}:news`, 'x'), () => r.subscribe(`${CART}:news`)],
    [scripts, () => r.eval("return redis.call('GET', KEYS[1])", 1, `${ADS}:script`)]
  ],
  { isReply, ping: async () => equal(await r.ping(), 'PONG'), close: () => Promise.all(open.map(client => client.quit())) })
