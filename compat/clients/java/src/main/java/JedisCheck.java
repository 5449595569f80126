// What an application does with Jedis, by its own means: a client with a pool, pipelines, transactions, iterations.

import static java.nio.charset.StandardCharsets.UTF_8;

import java.net.URI;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import redis.clients.jedis.AbstractPipeline;
import redis.clients.jedis.AbstractTransaction;
import redis.clients.jedis.ConnectionPoolConfig;
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.JedisPubSub;
import redis.clients.jedis.Protocol.Command;
import redis.clients.jedis.RedisClient;
import redis.clients.jedis.RedisProtocol;
import redis.clients.jedis.Response;
import redis.clients.jedis.exceptions.JedisDataException;
import redis.clients.jedis.params.ScanParams;
import redis.clients.jedis.params.SetParams;
import redis.clients.jedis.resps.ScanResult;
import redis.clients.jedis.util.JedisURIHelper;

public final class JedisCheck {
    private final Parts parts;
    private final String cart;
    private final String ads;
    private final RedisClient r;

    private JedisCheck(Parts parts) {
        this.parts = parts;
        cart = parts.cart;
        ads = parts.ads;
        r = connect("check", 8);
    }

    private RedisClient connect(String name, int connections) {
        URI uri = URI.create(parts.url);
        ConnectionPoolConfig pool = new ConnectionPoolConfig();
        pool.setMaxTotal(connections);
        pool.setTestOnBorrow(true); // Jedis' way to be rid of connections that were closed
        return RedisClient.builder().hostAndPort(JedisURIHelper.getHostAndPort(uri)).poolConfig(pool)
            .clientConfig(DefaultJedisClientConfig.builder().clientName(name).socketTimeoutMillis(10_000)
                .user(JedisURIHelper.getUser(uri)).password(JedisURIHelper.getPassword(uri))
                .protocol(RedisProtocol.valueOf("RESP" + parts.protocol)).build())
            .build();
    }

    private static String client(RedisClient asked, String... words) {
        Object told = asked.sendCommand(Command.CLIENT, words);
        return told instanceof byte[] text ? new String(text, UTF_8) : told.toString();
    }

    private static String find(String pattern, String text) {
        Matcher found = Pattern.compile(pattern).matcher(text);
        return found.find() ? found.group(1) : null;
    }

    private void speaks() {
        Parts.equal(find(" resp=(\\d)", client(r, "INFO")), parts.protocol);
    }

    private void strings() {
        Parts.equal(r.set(cart + ":s", "ü"), "OK");
        Parts.equal(r.get(cart + ":s"), "ü");
        Parts.equal(r.get(cart + ":none"), null);
        for (byte[] value : List.of(new byte[0], Parts.allBytes(), Parts.big())) {
            r.set(Parts.utf8(ads + ":b"), value);
            Parts.equal(Arrays.equals(r.get(Parts.utf8(ads + ":b")), value), true);
        }
        Parts.equal(r.del(cart + ":s", ads + ":b"), 2L);
    }

    private void pipeline() {
        List<Response<String>> gets = new ArrayList<>();
        Response<String> wrong;
        try (AbstractPipeline pipe = r.pipelined()) {
            for (int i = 0; i < 100; i++) {
                pipe.set(parts.either(i) + ":p:" + i, "" + i);
                gets.add(pipe.get(parts.either(i) + ":p:" + i));
            }
            wrong = pipe.hget(cart + ":p:0", "f");
            pipe.sync();
        }
        for (int i = 0; i < 100; i++) {
            Parts.equal(gets.get(i).get(), "" + i);
        }
        try {
            throw new AssertionError("no error, but " + wrong.get());
        } catch (JedisDataException error) {
            Parts.equal(error.getMessage().startsWith("WRONGTYPE"), true);
        }
    }

    private void several() {
        Map<String, String> pairs = new LinkedHashMap<>();
        for (int i = 0; i < 20; i++) {
            pairs.put(parts.either(i) + ":m:" + i, "" + i);
        }
        String[] keys = pairs.keySet().toArray(new String[0]);
        Parts.equal(r.mset(pairs.entrySet().stream().flatMap(e -> List.of(e.getKey(), e.getValue()).stream())
            .toArray(String[]::new)), "OK");
        Parts.equal(r.mget(keys), new ArrayList<>(pairs.values()));
        Parts.equal(r.del(keys), 20L);
    }

    private void pool() throws Exception {
        try (RedisClient shared = connect("check", 4)) {
            Parts.inThreads(() -> {
                for (int i = 0; i < 25; i++) {
                    shared.incr(cart + ":n");
                }
            });
        }
        Parts.equal(r.get(cart + ":n"), "200");
    }

    private void transactions() {
        try (AbstractTransaction block = r.multi()) {
            block.set(cart + ":t", "1");
            Response<Long> incremented = block.incr(cart + ":t");
            Parts.equal(block.exec().size(), 2);
            Parts.equal(incremented.get(), 2L);
        }
        for (boolean disturbed : List.of(true, false)) {
            try (AbstractTransaction block = r.transaction(false)) {
                block.watch(cart + ":t");
                if (disturbed) {
                    r.set(cart + ":t", "10");
                }
                block.multi();
                block.incr(cart + ":t");
                Parts.equal(block.exec(), disturbed ? null : List.of(11L));
            }
        }
    }

    private void hashes() {
        Map<String, String> fields = new HashMap<>();
        for (int i = 0; i < 250; i++) {
            fields.put("f" + i, "v" + i);
        }
        Parts.equal(r.hset(ads + ":h", fields), 250L);
        Parts.equal(r.hgetAll(ads + ":h"), fields);
        Map<String, String> seen = new HashMap<>();
        String cursor = ScanParams.SCAN_POINTER_START;
        do {
            ScanResult<Map.Entry<String, String>> page = r.hscan(ads + ":h", cursor, new ScanParams().count(20));
            page.getResult().forEach(pair -> seen.put(pair.getKey(), pair.getValue()));
            cursor = page.getCursor();
        } while (!cursor.equals(ScanParams.SCAN_POINTER_START));
        Parts.equal(seen, fields);
        Parts.equal(List.of(r.hdel(ads + ":h", "f1", "none"), r.hincrBy(ads + ":h", "n", 5)), List.of(1L, 5L));
    }

    private void expiry() throws Exception {
        r.set(cart + ":e", "1", SetParams.setParams().ex(100));
        long ttl = r.ttl(cart + ":e");
        Parts.equal(ttl > 0 && ttl <= 100, true);
        Parts.equal(List.of(r.persist(cart + ":e"), r.ttl(cart + ":e"), r.pexpire(cart + ":e", 20)), List.of(1L, -1L, 1L));
        Parts.until(() -> !r.exists(cart + ":e"));
    }

    private void scanning() {
        Set<String> wanted = new HashSet<>();
        for (int i = 0; i < 100; i++) {
            wanted.add(parts.either(i) + ":scan:" + i);
        }
        wanted.forEach(key -> r.set(key, "1"));
        Set<String> matched = new HashSet<>(r.scanIteration(7, ads + ":scan:*").collect(new ArrayList<>()));
        Parts.equal(matched.size() == 50 && wanted.containsAll(matched), true);
        wanted.removeAll(r.scanIteration(7, "*").collect(new ArrayList<>()));
        Parts.equal(wanted, Set.of());
    }

    private void errors() throws Exception {
        r.set(cart + ":wrong", "x");
        JedisDataException error = Parts.failure(JedisDataException.class, () -> r.hset(cart + ":wrong", "f", "1"));
        Parts.equal(error.getMessage().startsWith("WRONGTYPE"), true);
        Parts.equal(r.get(cart + ":wrong"), "x");
    }

    private void reconnect() {
        try (RedisClient own = connect("check", 1)) {
            String before = client(own, "ID");
            Parts.equal(client(r, "KILL", "ID", before), "1");
            Parts.equal(own.set(cart + ":again", "1"), "OK");
            Parts.equal(client(own, "ID").equals(before), false);
        }
    }

    private void lists() throws Exception {
        Thread pusher = new Thread(() -> r.rpush(cart + ":q", "job"));
        pusher.start();
        Parts.equal(r.blpop(10, cart + ":q"), List.of(cart + ":q", "job"));
        pusher.join();
        Parts.equal(r.blpop(1, cart + ":q"), null);
    }

    private void sortedSets() {
        r.zadd(ads + ":z", 1.5, "m");
        Parts.equal(r.zscore(ads + ":z", "m"), 1.5);
        Parts.equal(r.zrangeWithScores(ads + ":z", 0, -1).get(0).getScore(), 1.5);
        Parts.equal(List.of(r.sadd(ads + ":u", "x"), r.smembers(ads + ":u")), List.of(1L, Set.of("x")));
    }

    private final class Listener extends JedisPubSub {
        private final BlockingQueue<String> seen = new LinkedBlockingQueue<>();

        @Override public void onSubscribe(String channel, int count) {
            seen.add("subscribed " + channel);
        }

        @Override public void onPSubscribe(String pattern, int count) {
            seen.add("subscribed " + pattern);
        }

        @Override public void onMessage(String channel, String message) {
            seen.add(channel + " " + message);
        }

        @Override public void onPMessage(String pattern, String channel, String message) {
            seen.add(pattern + " " + channel + " " + message);
        }
    }

    private void channels() throws Exception {
        Listener listener = new Listener();
        Thread subscriber = new Thread(() -> {
            try (RedisClient own = connect("subscriber", 1)) {
                own.subscribe(listener, cart + ":news");
            }
        });
        subscriber.start();
        Parts.equal(listener.seen.poll(10, TimeUnit.SECONDS), "subscribed " + cart + ":news");
        listener.psubscribe(ads + ":*");
        Parts.equal(listener.seen.poll(10, TimeUnit.SECONDS), "subscribed " + ads + ":*");
        Parts.equal(r.publish(cart + ":news", "one"), 1L);
        Parts.equal(listener.seen.poll(10, TimeUnit.SECONDS), cart + ":news one");
        Parts.equal(r.publish(ads + ":x", "two"), 1L);
        Parts.equal(listener.seen.poll(10, TimeUnit.SECONDS), ads + ":* " + ads + ":x two");
        listener.unsubscribe();
        listener.punsubscribe();
        subscriber.join(10_000);
        Parts.equal(subscriber.isAlive(), false);
    }

    private void scripts() {
        String lua = "return redis.call('INCRBY', KEYS[1], ARGV[1])";
        Parts.equal(r.eval(lua, List.of(ads + ":script"), List.of("4")), 4L);
        Parts.equal(r.evalsha(r.scriptLoad(lua, ads + ":script"), List.of(ads + ":script"), List.of("4")), 8L);
    }

    private void run() {
        parts.part("protocol", this::speaks);
        parts.part("strings", this::strings);
        parts.part("pipeline", this::pipeline);
        parts.part("several", this::several);
        parts.part("pool", this::pool);
        parts.part("transactions", this::transactions);
        parts.part("hashes", this::hashes);
        parts.part("expiry", this::expiry);
        parts.part("scanning", this::scanning);
        parts.part("errors", this::errors);
        parts.part("reconnect", this::reconnect);
        Parts.Part ping = () -> Parts.equal(r.ping(), "PONG");
        Class<JedisDataException> reply = JedisDataException.class;
        parts.beyond("lists", this::lists, reply, ping, () -> r.rpush(cart + ":q", "x"), () -> r.blpop(1, cart + ":q"));
        parts.beyond("sorted sets", this::sortedSets, reply, ping,
            () -> r.zadd(ads + ":z", 1, "m"), () -> r.sadd(ads + ":u", "x"));
        parts.beyond("channels", this::channels, reply, ping, () -> r.publish(cart + ":news", "x"), () -> {
            r.subscribe(new Listener(), cart + ":news");
            return null;
        });
        parts.beyond("scripts", this::scripts, reply, ping,
            () -> r.eval("return redis.call('GET', KEYS[1])", List.of(ads + ":script"), List.of()));
        r.close();
    }

    public static void main(String[] args) {
        Parts parts = new Parts(args);
        new JedisCheck(parts).run();
        parts.exit();
    }
}
