// What an application does with node-redis 4 to 6, by its own means. See common.mjs for its arguments.
import { ADS, CART, big, bytes, either, equal, failure, later, load, protocol, run, until, url, version } from './common.mjs'

const redis = load('redis')
const four = version('redis') === 4
const options = { url, name: 'check', ...(four ? { isolationPoolOptions: { max: 4 } } : { RESP: protocol }) }
const open = []
async function connect (more) {
  const client = redis.createClient({ ...options, ...more })
  client.on('error', () => {}) // lost connections come back by themselves
  open.push(client)
  await client.connect()
  return client
}
const r = await connect()
/** Replies as buffers: the way differs between 4 and later ones. */
const inBytes = four ? null : r.withTypeMapping({ [redis.RESP_TYPES.BLOB_STRING]: Buffer })
const getBytes = key => four ? r.get(redis.commandOptions({ returnBuffers: true }), key) : inBytes.get(key)

async function speaks () {
  equal(/ resp=(\d)/.exec(await r.sendCommand(['CLIENT', 'INFO']))[1], String(protocol))
}

async function strings () {
  equal(await r.set(`${CART}:s`, 'ü'), 'OK')
  equal([await r.get(`${CART}:s`), await r.get(`${CART}:none`)], ['ü', null])
  for (const value of [Buffer.alloc(0), bytes, big]) {
    await r.set(`${ADS}:b`, value)
    equal((await getBytes(`${ADS}:b`)).equals(value), true)
  }
  equal(await r.del([`${CART}:s`, `${ADS}:b`]), 2)
}

async function pipeline () {
  const answers = []
  for (let i = 0; i < 100; i++) { // node-redis pipelines what is sent in one tick
    answers.push(r.set(`${either(i)}:p:${i}`, String(i)), r.get(`${either(i)}:p:${i}`))
  }
  const wrong = failure(r.hGet(`${CART}:p:0`, 'f'))
  equal(await Promise.all(answers), Array.from({ length: 200 }, (_, i) => i % 2 ? String((i - 1) / 2) : 'OK'))
  equal((await wrong).message.startsWith('WRONGTYPE'), true)
}

async function several () {
  const pairs = {}
  for (let i = 0; i < 20; i++) pairs[`${either(i)}:m:${i}`] = String(i)
  equal(await r.mSet(pairs), 'OK')
  equal(await r.mGet([...Object.keys(pairs), `${ADS}:none`]), [...Object.values(pairs), null])
  equal([await r.exists(Object.keys(pairs)), await r.del(Object.keys(pairs))], [20, 20])
}

async function pool () {
  const work = Array.from({ length: 200 })
  let got
  if (four) {
    got = await Promise.all(work.map(() => r.executeIsolated(own => own.incr(`${CART}:n`))))
  } else {
    const clients = redis.createClientPool(options, { minimum: 1, maximum: 4 })
    clients.on('error', () => {})
    await clients.connect()
    got = await Promise.all(work.map(() => clients.incr(`${CART}:n`)))
    await clients.close()
  }
  equal(got.sort((a, b) => a - b), Array.from({ length: 200 }, (_, i) => i + 1))
}

async function transactions () {
  equal(await r.multi().set(`${CART}:t`, '1').incr(`${CART}:t`).exec(), ['OK', 2])
  const watcher = await connect()
  await watcher.watch(`${CART}:t`)
  await r.set(`${CART}:t`, '10')
  equal(await failure(watcher.multi().incr(`${CART}:t`).exec()) instanceof redis.WatchError, true)
  await watcher.watch(`${CART}:t`)
  equal(await watcher.multi().incr(`${CART}:t`).exec(), [11])
}

async function hashes () {
  const fields = Object.fromEntries(Array.from({ length: 250 }, (_, i) => [`f${i}`, `v${i}`]))
  equal(await r.hSet(`${ADS}:h`, fields), 250)
  equal({ ...(await r.hGetAll(`${ADS}:h`)) }, fields)
  const seen = {}
  for await (const page of r.hScanIterator(`${ADS}:h`, { COUNT: 20 })) {
    for (const { field, value } of [page].flat()) seen[field] = value
  }
  equal(seen, fields)
  equal([await r.hDel(`${ADS}:h`, ['f1', 'none']), await r.hIncrBy(`${ADS}:h`, 'n', 5)], [1, 5])
}

async function expiry () {
  await r.set(`${CART}:e`, '1', { EX: 100 })
  const ttl = await r.ttl(`${CART}:e`)
  equal([ttl > 0 && ttl <= 100, Number(await r.persist(`${CART}:e`)), await r.ttl(`${CART}:e`)], [true, 1, -1])
  await r.pExpire(`${CART}:e`, 20)
  await until(async () => await r.exists(`${CART}:e`) === 0)
}

async function scanning () {
  const wanted = Array.from({ length: 100 }, (_, i) => `${either(i)}:scan:${i}`)
  await r.mSet(wanted.flatMap(key => [key, '1']))
  const seen = new Set()
  for await (const page of r.scanIterator({ COUNT: 7 })) [page].flat().forEach(key => seen.add(key))
  equal(wanted.filter(key => !seen.has(key)), [])
  const matched = new Set()
  for await (const page of r.scanIterator({ MATCH: `${ADS}:scan:*` })) [page].flat().forEach(key => matched.add(key))
  equal([...matched].sort(), wanted.filter(key => key.startsWith(ADS)).sort())
}

const isReply = error => error instanceof redis.ErrorReply

async function errors () {
  await r.set(`${CART}:wrong`, 'x')
  const error = await failure(r.hSet(`${CART}:wrong`, 'f', '1'))
  equal([isReply(error), error.message.startsWith('WRONGTYPE'), await r.get(`${CART}:wrong`)], [true, true, 'x'])
}

async function reconnect () {
  const own = await connect()
  const before = await own.sendCommand(['CLIENT', 'ID'])
  const [back, cameBack] = later()
  own.once('ready', cameBack)
  equal(await r.sendCommand(['CLIENT', 'KILL', 'ID', String(before)]), 1)
  await back // by itself
  equal(await own.set(`${CART}:again`, '1'), 'OK')
  equal(await own.sendCommand(['CLIENT', 'ID']) !== before, true)
}

async function lists () {
  const blocker = await connect()
  const popped = blocker.blPop(`${CART}:q`, 10)
  await r.rPush(`${CART}:q`, 'job')
  equal({ ...(await popped) }, { key: `${CART}:q`, element: 'job' })
  equal(await blocker.blPop(`${CART}:q`, 0.1), null)
}

async function sortedSets () {
  equal([await r.sAdd(`${ADS}:u`, ['x', 'y']), [...await r.sMembers(`${ADS}:u`)].sort()], [2, ['x', 'y']])
  await r.zAdd(`${ADS}:z`, { score: 1.5, value: 'm' })
  equal(await r.zScore(`${ADS}:z`, 'm'), 1.5)
  equal((await r.zRangeWithScores(`${ADS}:z`, 0, -1)).map(pair => ({ ...pair })), [{ value: 'm', score: 1.5 }])
}

async function channels () {
  const sub = await connect({ name: 'subscriber' })
  const [message, gotMessage] = later()
  const [pattern, gotPattern] = later()
  let back = false
  await sub.subscribe(`${CART}:news`, text => text.toString() === 'back' ? (back = true) : gotMessage(text), true)
  await sub.pSubscribe(`${ADS}:*`, (...args) => gotPattern(args))
  equal([await r.publish(`${CART}:news`, bytes), await r.publish(`${ADS}:x`, 'two')], [1, 1])
  equal((await message).equals(bytes), true)
  equal(await pattern, ['two', `${ADS}:x`])
  const id = /id=(\d+) .*name=subscriber/.exec(await r.sendCommand(['CLIENT', 'LIST']))[1]
  equal(await r.sendCommand(['CLIENT', 'KILL', 'ID', id]), 1)
  await until(async () => { // it subscribes again by itself; until then messages are lost
    await r.publish(`${CART}:news`, 'back')
    return back
  })
  await sub.unsubscribe(`${CART}:news`) // a bare one never ends in node-redis 4 while a pattern is left
  await sub.pUnsubscribe(`${ADS}:*`)
}

async function scripts () {
  const lua = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
  const addTo = {
    NUMBER_OF_KEYS: 1,
    SCRIPT: lua,
    transformArguments: (key, by) => [key, String(by)],
    parseCommand: (parser, key, by) => { parser.pushKey(key); parser.push(String(by)) },
    transformReply: reply => reply
  }
  const scripted = await connect({ scripts: { addTo: redis.defineScript(addTo) } })
  equal([await scripted.addTo(`${ADS}:script`, 4), await scripted.addTo(`${ADS}:script`, 4)], [4, 8])
  equal(await r.eval(lua, { keys: [`${ADS}:script`], arguments: ['4'] }), 12)
}

/** On a connection of its own, as node-redis asks for: in RESP2 even a refused SUBSCRIBE makes its later replies buffers. */
const subscribed = async () => (await connect()).subscribe(`${CART}:news`, () => {})

await run(
  [speaks, strings, pipeline, several, pool, transactions, hashes, expiry, scanning, errors, reconnect],
  [
    [lists, () => r.rPush(`${CART}:q`, 'x'), () => r.blPop(`${CART}:q`, 1)],
    [sortedSets, () => r.zAdd(`${ADS}:z`, { score: 1.5, value: 'm' }), () => r.sAdd(`${ADS}:u`, 'x')],
    [channels, () => r.publish(`${CART}:news`, 'x'), subscribed],
    [scripts, () => r.eval("return redis.call('GET', KEYS[1])", { keys: [`${ADS}:script`] })]
  ],
  { isReply, ping: async () => equal(await r.ping(), 'PONG'), close: () => Promise.all(open.map(client => client.quit())) })
