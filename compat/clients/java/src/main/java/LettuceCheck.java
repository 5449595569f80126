// What an application does with Lettuce (one connection that pipelines, HELLO 3), checked against URL.

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

import io.lettuce.core.KeyScanCursor;
import io.lettuce.core.KeyValue;
import io.lettuce.core.RedisClient;
import io.lettuce.core.RedisCommandExecutionException;
import io.lettuce.core.RedisFuture;
import io.lettuce.core.RedisURI;
import io.lettuce.core.ScanArgs;
import io.lettuce.core.ScanCursor;
import io.lettuce.core.ScriptOutputType;
import io.lettuce.core.SetArgs;
import io.lettuce.core.api.StatefulRedisConnection;
import io.lettuce.core.api.async.RedisAsyncCommands;
import io.lettuce.core.api.sync.RedisCommands;
import io.lettuce.core.pubsub.RedisPubSubAdapter;
import io.lettuce.core.pubsub.StatefulRedisPubSubConnection;

public final class LettuceCheck {
    private static final String CART = "Shop.Cart:lettuce";
    private static final String ADS = "Ads.Profile:lettuce";
    private static final List<String> DONE = new ArrayList<>();

    private static void equal(Object got, Object wanted) {
        if (!Objects.equals(got, wanted)) {
            throw new AssertionError("after " + DONE + ": got " + got + ", wanted " + wanted);
        }
    }

    private static String either(int i) {
        return i % 2 == 0 ? CART : ADS;
    }

    private static void strings(RedisCommands<String, String> r) {
        r.del(CART + ":q", ADS + ":h", ADS + ":script");
        equal(r.set(CART + ":s", "ü"), "OK");
        equal(r.get(CART + ":s"), "ü");
        equal(r.get(CART + ":none"), null);
        String big = "v".repeat(1 << 20);
        r.set(ADS + ":b", big);
        equal(r.get(ADS + ":b"), big);
        equal(r.del(CART + ":s", ADS + ":b"), 2L);
    }

    private static void pipeline(StatefulRedisConnection<String, String> connection) throws Exception {
        RedisAsyncCommands<String, String> r = connection.async();
        List<RedisFuture<String>> gets = new ArrayList<>();
        connection.setAutoFlushCommands(false);
        for (int i = 0; i < 100; i++) {
            r.set(either(i) + ":p:" + i, "" + i);
            gets.add(r.get(either(i) + ":p:" + i));
        }
        connection.flushCommands();
        connection.setAutoFlushCommands(true);
        for (int i = 0; i < 100; i++) {
            equal(gets.get(i).get(10, TimeUnit.SECONDS), "" + i);
        }
    }

    private static void several(RedisCommands<String, String> r) {
        Map<String, String> pairs = new LinkedHashMap<>();
        for (int i = 0; i < 20; i++) {
            pairs.put(either(i) + ":m:" + i, "" + i);
        }
        String[] keys = pairs.keySet().toArray(new String[0]);
        equal(r.mset(pairs), "OK");
        equal(r.mget(keys).stream().map(KeyValue::getValue).toList(), new ArrayList<>(pairs.values()));
        equal(r.del(keys), 20L);
    }

    private static void transactions(RedisCommands<String, String> r, RedisCommands<String, String> other) {
        r.multi();
        r.set(CART + ":t", "1");
        r.incr(CART + ":t");
        equal(r.exec().stream().toList(), List.of("OK", 2L));
        r.watch(CART + ":t");
        other.set(CART + ":t", "10");
        r.multi();
        r.incr(CART + ":t");
        equal(r.exec().wasDiscarded(), true);
        equal(r.get(CART + ":t"), "10");
    }

    private static void hashes(RedisCommands<String, String> r) {
        equal(r.hset(ADS + ":h", Map.of("a", "1", "b", "2")), 2L);
        equal(r.hgetall(ADS + ":h"), Map.of("a", "1", "b", "2"));
        r.zadd(ADS + ":z", 1.5, "m");
        equal(r.zscore(ADS + ":z", "m"), 1.5);
    }

    private static void expiry(RedisCommands<String, String> r) {
        r.set(CART + ":e", "1", SetArgs.Builder.ex(100));
        long ttl = r.ttl(CART + ":e");
        equal(ttl > 0 && ttl <= 100, true);
        equal(r.persist(CART + ":e"), true);
        equal(r.ttl(CART + ":e"), -1L);
    }

    private static void channels(RedisClient client, RedisCommands<String, String> r) throws InterruptedException {
        BlockingQueue<String> seen = new LinkedBlockingQueue<>();
        try (StatefulRedisPubSubConnection<String, String> sub = client.connectPubSub()) {
            sub.addListener(new RedisPubSubAdapter<>() {
                @Override public void message(String channel, String message) {
                    seen.add(channel + " " + message);
                }

                @Override public void message(String pattern, String channel, String message) {
                    seen.add(pattern + " " + channel + " " + message);
                }
            });
            sub.sync().subscribe(CART + ":news");
            sub.sync().psubscribe(ADS + ":*");
            equal(r.publish(CART + ":news", "one"), 1L);
            equal(seen.poll(5, TimeUnit.SECONDS), CART + ":news one");
            equal(r.publish(ADS + ":x", "two"), 1L);
            equal(seen.poll(5, TimeUnit.SECONDS), ADS + ":* " + ADS + ":x two");
            sub.sync().unsubscribe(CART + ":news");
        }
    }

    private static void blocking(RedisClient client, RedisCommands<String, String> r) throws Exception {
        try (StatefulRedisConnection<String, String> blocker = client.connect()) {
            RedisFuture<KeyValue<String, String>> popped = blocker.async().blpop(5, CART + ":q");
            r.rpush(CART + ":q", "job");
            equal(popped.get(5, TimeUnit.SECONDS), KeyValue.just(CART + ":q", "job"));
            equal(blocker.sync().blpop(1, CART + ":q"), null);
        }
    }

    private static void scanning(RedisCommands<String, String> r) {
        Set<String> wanted = new HashSet<>();
        for (int i = 0; i < 50; i++) {
            wanted.add(CART + ":scan:" + i);
            wanted.add(ADS + ":scan:" + i);
        }
        wanted.forEach(key -> r.set(key, "1"));
        KeyScanCursor<String> page = r.scan(ScanArgs.Builder.limit(7));
        page.getKeys().forEach(wanted::remove);
        while (!page.isFinished()) {
            page = r.scan(ScanCursor.of(page.getCursor()), ScanArgs.Builder.limit(7));
            page.getKeys().forEach(wanted::remove);
        }
        equal(wanted, Set.of());
    }

    private static void scripts(RedisCommands<String, String> r) {
        Long answer = r.eval("return redis.call('INCRBY', KEYS[1], ARGV[1])", ScriptOutputType.INTEGER,
            new String[] {ADS + ":script"}, "4");
        equal(answer, 4L);
        try {
            r.lpush(ADS + ":script", "1");
            throw new AssertionError("no WRONGTYPE");
        } catch (RedisCommandExecutionException error) {
            equal(error.getMessage().startsWith("WRONGTYPE"), true);
        }
        equal(r.ping(), "PONG");
    }

    private interface Check {
        void run() throws Exception;
    }

    public static void main(String[] args) throws Exception {
        RedisURI address = RedisURI.create(args[0]);
        address.setTimeout(Duration.ofSeconds(10));
        address.setClientName("check");
        RedisClient client = RedisClient.create(address);
        try (StatefulRedisConnection<String, String> connection = client.connect();
             StatefulRedisConnection<String, String> second = client.connect()) {
            RedisCommands<String, String> r = connection.sync();
            Map<String, Check> checks = new LinkedHashMap<>();
            checks.put("strings", () -> strings(r));
            checks.put("pipeline", () -> pipeline(connection));
            checks.put("several", () -> several(r));
            checks.put("transactions", () -> transactions(r, second.sync()));
            checks.put("hashes", () -> hashes(r));
            checks.put("expiry", () -> expiry(r));
            checks.put("channels", () -> channels(client, r));
            checks.put("blocking", () -> blocking(client, r));
            checks.put("scanning", () -> scanning(r));
            checks.put("scripts", () -> scripts(r));
            for (Map.Entry<String, Check> check : checks.entrySet()) {
                check.getValue().run();
                DONE.add(check.getKey());
            }
        } finally {
            client.shutdown(Duration.ZERO, Duration.ofSeconds(5));
        }
        System.out.println("Lettuce: ok, " + String.join(", ", DONE));
    }
}
