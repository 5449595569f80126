// What an application does with Jedis, checked against the address given: URL [PROTOCOL]; one line says the result.

import java.net.URI;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.JedisPubSub;
import redis.clients.jedis.Pipeline;
import redis.clients.jedis.RedisProtocol;
import redis.clients.jedis.Response;
import redis.clients.jedis.Transaction;
import redis.clients.jedis.exceptions.JedisDataException;
import redis.clients.jedis.params.ScanParams;
import redis.clients.jedis.params.SetParams;
import redis.clients.jedis.resps.ScanResult;

public final class JedisCheck {
    private static final String CART = "Shop.Cart:jedis";
    private static final String ADS = "Ads.Profile:jedis";
    private static final List<String> DONE = new ArrayList<>();
    private static HostAndPort address;
    private static RedisProtocol protocol;
    private static String[] user;

    private static Jedis connect() {
        DefaultJedisClientConfig.Builder config =
            DefaultJedisClientConfig.builder().clientName("check").socketTimeoutMillis(10_000);
        if (user != null) {
            config.user(user[0]).password(user[1]);
        }
        if (protocol != null) {
            config.protocol(protocol);
        }
        return new Jedis(address, config.build());
    }

    private static void equal(Object got, Object wanted) {
        if (!Objects.equals(got, wanted)) {
            throw new AssertionError("after " + DONE + ": got " + got + ", wanted " + wanted);
        }
    }

    private static String either(int i) {
        return i % 2 == 0 ? CART : ADS;
    }

    private static void strings(Jedis r) {
        r.del(CART + ":q", ADS + ":h", ADS + ":z", ADS + ":script");
        equal(r.set(CART + ":s", "ü"), "OK");
        equal(r.get(CART + ":s"), "ü");
        equal(r.get(CART + ":none"), null);
        byte[] big = new byte[1 << 20];
        Arrays.fill(big, (byte) 255);
        r.set((ADS + ":b").getBytes(), big);
        equal(Arrays.equals(r.get((ADS + ":b").getBytes()), big), true);
        equal(r.del(CART + ":s", ADS + ":b"), 2L);
    }

    private static void pipeline(Jedis r) {
        Pipeline pipe = r.pipelined();
        List<Response<String>> gets = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            pipe.set(either(i) + ":p:" + i, "" + i);
            gets.add(pipe.get(either(i) + ":p:" + i));
        }
        pipe.sync();
        for (int i = 0; i < 100; i++) {
            equal(gets.get(i).get(), "" + i);
        }
    }

    private static void several(Jedis r) {
        Map<String, String> pairs = new LinkedHashMap<>();
        for (int i = 0; i < 20; i++) {
            pairs.put(either(i) + ":m:" + i, "" + i);
        }
        String[] keys = pairs.keySet().toArray(new String[0]);
        equal(r.mset(pairs.entrySet().stream().flatMap(e -> List.of(e.getKey(), e.getValue()).stream())
            .toArray(String[]::new)), "OK");
        equal(r.mget(keys), new ArrayList<>(pairs.values()));
        equal(r.del(keys), 20L);
    }

    private static void transactions(Jedis r) {
        Transaction block = r.multi();
        block.set(CART + ":t", "1");
        Response<Long> incremented = block.incr(CART + ":t");
        equal(block.exec().size(), 2);
        equal(incremented.get(), 2L);
        try (Jedis other = connect()) {
            r.watch(CART + ":t");
            other.set(CART + ":t", "10");
            Transaction broken = r.multi();
            broken.incr(CART + ":t");
            equal(broken.exec(), null);
        }
        equal(r.get(CART + ":t"), "10");
    }

    private static void hashes(Jedis r) {
        equal(r.hset(ADS + ":h", Map.of("a", "1", "b", "2")), 2L);
        equal(r.hgetAll(ADS + ":h"), Map.of("a", "1", "b", "2"));
        r.zadd(ADS + ":z", 1.5, "m");
        equal(r.zscore(ADS + ":z", "m"), 1.5);
    }

    private static void expiry(Jedis r) {
        r.set(CART + ":e", "1", SetParams.setParams().ex(100));
        long ttl = r.ttl(CART + ":e");
        equal(ttl > 0 && ttl <= 100, true);
        equal(r.persist(CART + ":e"), 1L);
        equal(r.ttl(CART + ":e"), -1L);
    }

    private static void channels(Jedis r) throws InterruptedException {
        BlockingQueue<String> seen = new LinkedBlockingQueue<>();
        JedisPubSub listener = new JedisPubSub() {
            @Override public void onSubscribe(String channel, int count) {
                seen.add("subscribed " + channel);
            }

            @Override public void onMessage(String channel, String message) {
                seen.add(channel + " " + message);
                unsubscribe();
            }
        };
        Thread subscriber = new Thread(() -> {
            try (Jedis own = connect()) {
                own.subscribe(listener, CART + ":news");
            }
        });
        subscriber.start();
        equal(seen.poll(5, TimeUnit.SECONDS), "subscribed " + CART + ":news");
        equal(r.publish(CART + ":news", "one"), 1L);
        equal(seen.poll(5, TimeUnit.SECONDS), CART + ":news one");
        subscriber.join(5000);
        equal(subscriber.isAlive(), false);
    }

    private static void blocking(Jedis r) {
        new Thread(() -> {
            try (Jedis own = connect()) {
                own.rpush(CART + ":q", "job");
            }
        }).start();
        equal(r.blpop(5, CART + ":q"), List.of(CART + ":q", "job"));
        equal(r.blpop(1, CART + ":q"), null);
    }

    private static void scanning(Jedis r) {
        Set<String> wanted = new HashSet<>();
        for (int i = 0; i < 50; i++) {
            wanted.add(CART + ":scan:" + i);
            wanted.add(ADS + ":scan:" + i);
        }
        wanted.forEach(key -> r.set(key, "1"));
        String cursor = ScanParams.SCAN_POINTER_START;
        do {
            ScanResult<String> page = r.scan(cursor, new ScanParams().count(7));
            page.getResult().forEach(wanted::remove);
            cursor = page.getCursor();
        } while (!cursor.equals(ScanParams.SCAN_POINTER_START));
        equal(wanted, Set.of());
    }

    private static void scripts(Jedis r) {
        equal(r.eval("return redis.call('INCRBY', KEYS[1], ARGV[1])", List.of(ADS + ":script"), List.of("4")), 4L);
        try {
            r.lpush(ADS + ":script", "1");
            throw new AssertionError("no WRONGTYPE");
        } catch (JedisDataException error) {
            equal(error.getMessage().startsWith("WRONGTYPE"), true);
        }
        equal(r.ping(), "PONG");
    }

    private interface Check {
        void run(Jedis r) throws Exception;
    }

    public static void main(String[] args) throws Exception {
        URI uri = URI.create(args[0]);
        address = new HostAndPort(uri.getHost(), uri.getPort());
        if (uri.getUserInfo() != null) {
            user = uri.getRawUserInfo().split(":", 2);
            user[1] = URLDecoder.decode(user[1], StandardCharsets.UTF_8);
        }
        if (args.length > 1) {
            protocol = RedisProtocol.valueOf("RESP" + args[1]);
        }
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("strings", JedisCheck::strings);
        checks.put("pipeline", JedisCheck::pipeline);
        checks.put("several", JedisCheck::several);
        checks.put("transactions", JedisCheck::transactions);
        checks.put("hashes", JedisCheck::hashes);
        checks.put("expiry", JedisCheck::expiry);
        checks.put("channels", JedisCheck::channels);
        checks.put("blocking", JedisCheck::blocking);
        checks.put("scanning", JedisCheck::scanning);
        checks.put("scripts", JedisCheck::scripts);
        try (Jedis r = connect()) {
            for (Map.Entry<String, Check> check : checks.entrySet()) {
                check.getValue().run(r);
                DONE.add(check.getKey());
            }
        }
        System.out.println("Jedis" + (protocol == null ? "" : " " + protocol) + ": ok, " + String.join(", ", DONE));
    }
}
