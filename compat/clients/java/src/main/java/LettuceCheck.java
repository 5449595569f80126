// What an application does with Lettuce, by its own means: one connection that many threads share, futures, iterators, a pool.

import java.time.Duration;
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

import io.lettuce.core.ClientOptions;
import io.lettuce.core.KeyValue;
import io.lettuce.core.KillArgs;
import io.lettuce.core.RedisClient;
import io.lettuce.core.RedisCommandExecutionException;
import io.lettuce.core.RedisFuture;
import io.lettuce.core.RedisURI;
import io.lettuce.core.ScanArgs;
import io.lettuce.core.ScanIterator;
import io.lettuce.core.ScoredValue;
import io.lettuce.core.ScriptOutputType;
import io.lettuce.core.SetArgs;
import io.lettuce.core.api.StatefulRedisConnection;
import io.lettuce.core.api.async.RedisAsyncCommands;
import io.lettuce.core.api.sync.RedisCommands;
import io.lettuce.core.codec.ByteArrayCodec;
import io.lettuce.core.protocol.ProtocolVersion;
import io.lettuce.core.pubsub.RedisPubSubAdapter;
import io.lettuce.core.pubsub.StatefulRedisPubSubConnection;
import io.lettuce.core.support.ConnectionPoolSupport;
import org.apache.commons.pool2.impl.GenericObjectPool;
import org.apache.commons.pool2.impl.GenericObjectPoolConfig;

public final class LettuceCheck {
    private final Parts parts;
    private final String cart;
    private final String ads;
    private final RedisClient client;
    private final StatefulRedisConnection<String, String> connection;
    private final RedisCommands<String, String> r;

    private LettuceCheck(Parts parts) {
        this.parts = parts;
        cart = parts.cart;
        ads = parts.ads;
        RedisURI address = RedisURI.create(parts.url);
        address.setTimeout(Duration.ofSeconds(10));
        address.setClientName("check");
        client = RedisClient.create(address);
        client.setOptions(ClientOptions.builder().protocolVersion(ProtocolVersion.valueOf("RESP" + parts.protocol)).build());
        connection = client.connect();
        r = connection.sync();
    }

    private static String find(String pattern, String text) {
        Matcher found = Pattern.compile(pattern).matcher(text);
        return found.find() ? found.group(1) : null;
    }

    private void speaks() {
        Parts.equal(find("id=" + r.clientId() + " .* resp=(\\d)", r.clientList()), parts.protocol);
    }

    private void strings() {
        Parts.equal(r.set(cart + ":s", "ü"), "OK");
        Parts.equal(r.get(cart + ":s"), "ü");
        Parts.equal(r.get(cart + ":none"), null);
        try (StatefulRedisConnection<byte[], byte[]> binary = client.connect(ByteArrayCodec.INSTANCE)) {
            for (byte[] value : List.of(new byte[0], Parts.allBytes(), Parts.big())) {
                binary.sync().set(Parts.utf8(ads + ":b"), value);
                Parts.equal(Arrays.equals(binary.sync().get(Parts.utf8(ads + ":b")), value), true);
            }
        }
        Parts.equal(r.del(cart + ":s", ads + ":b"), 2L);
    }

    private void pipeline() throws Exception {
        RedisAsyncCommands<String, String> async = connection.async();
        List<RedisFuture<String>> gets = new ArrayList<>();
        connection.setAutoFlushCommands(false);
        for (int i = 0; i < 100; i++) {
            async.set(parts.either(i) + ":p:" + i, "" + i);
            gets.add(async.get(parts.either(i) + ":p:" + i));
        }
        RedisFuture<String> wrong = async.hget(cart + ":p:0", "f");
        connection.flushCommands();
        connection.setAutoFlushCommands(true);
        for (int i = 0; i < 100; i++) {
            Parts.equal(gets.get(i).get(10, TimeUnit.SECONDS), "" + i);
        }
        wrong.await(10, TimeUnit.SECONDS);
        Parts.equal(wrong.getError().startsWith("WRONGTYPE"), true);
    }

    private void several() {
        Map<String, String> pairs = new LinkedHashMap<>();
        for (int i = 0; i < 20; i++) {
            pairs.put(parts.either(i) + ":m:" + i, "" + i);
        }
        String[] keys = pairs.keySet().toArray(new String[0]);
        Parts.equal(r.mset(pairs), "OK");
        Parts.equal(r.mget(keys).stream().map(KeyValue::getValue).toList(), new ArrayList<>(pairs.values()));
        Parts.equal(r.del(keys), 20L);
    }

    private void pool() throws Exception {
        Parts.inThreads(() -> { // all share one connection
            for (int i = 0; i < 25; i++) {
                r.incr(cart + ":n");
            }
        });
        GenericObjectPoolConfig<StatefulRedisConnection<String, String>> config = new GenericObjectPoolConfig<>();
        config.setMaxTotal(4);
        try (GenericObjectPool<StatefulRedisConnection<String, String>> pool =
                 ConnectionPoolSupport.createGenericObjectPool(client::connect, config)) {
            Parts.inThreads(() -> {
                for (int i = 0; i < 25; i++) {
                    try (StatefulRedisConnection<String, String> own = pool.borrowObject()) {
                        own.sync().incr(cart + ":n");
                    }
                }
            });
        }
        Parts.equal(r.get(cart + ":n"), "400");
    }

    private void transactions() {
        try (StatefulRedisConnection<String, String> own = client.connect()) {
            RedisCommands<String, String> t = own.sync();
            t.multi();
            t.set(cart + ":t", "1");
            t.incr(cart + ":t");
            Parts.equal(t.exec().stream().toList(), List.of("OK", 2L));
            for (boolean disturbed : List.of(true, false)) {
                t.watch(cart + ":t");
                if (disturbed) {
                    r.set(cart + ":t", "10");
                }
                t.multi();
                t.incr(cart + ":t");
                Parts.equal(t.exec().wasDiscarded(), disturbed);
            }
        }
        Parts.equal(r.get(cart + ":t"), "11");
    }

    private void hashes() {
        Map<String, String> fields = new HashMap<>();
        Map<String, String> seen = new HashMap<>();
        for (int i = 0; i < 250; i++) {
            fields.put("f" + i, "v" + i);
        }
        Parts.equal(r.hset(ads + ":h", fields), 250L);
        Parts.equal(r.hgetall(ads + ":h"), fields);
        ScanIterator.hscan(r, ads + ":h", ScanArgs.Builder.limit(20)).forEachRemaining(
            pair -> seen.put(pair.getKey(), pair.getValue()));
        Parts.equal(seen, fields);
        Parts.equal(List.of(r.hdel(ads + ":h", "f1", "none"), r.hincrby(ads + ":h", "n", 5)), List.of(1L, 5L));
    }

    private void expiry() throws Exception {
        r.set(cart + ":e", "1", SetArgs.Builder.ex(100));
        long ttl = r.ttl(cart + ":e");
        Parts.equal(ttl > 0 && ttl <= 100, true);
        Parts.equal(List.of(r.persist(cart + ":e"), r.ttl(cart + ":e"), r.pexpire(cart + ":e", 20)), List.of(true, -1L, true));
        Parts.until(() -> r.exists(cart + ":e") == 0);
    }

    private void scanning() {
        Set<String> wanted = new HashSet<>();
        for (int i = 0; i < 100; i++) {
            wanted.add(parts.either(i) + ":scan:" + i);
        }
        wanted.forEach(key -> r.set(key, "1"));
        Set<String> matched = new HashSet<>();
        ScanIterator.scan(r, ScanArgs.Builder.limit(7).match(ads + ":scan:*")).forEachRemaining(matched::add);
        Parts.equal(matched.size() == 50 && wanted.containsAll(matched), true);
        ScanIterator.scan(r, ScanArgs.Builder.limit(7)).forEachRemaining(wanted::remove);
        Parts.equal(wanted, Set.of());
    }

    private void errors() throws Exception {
        r.set(cart + ":wrong", "x");
        Exception error = Parts.failure(RedisCommandExecutionException.class, () -> r.hset(cart + ":wrong", "f", "1"));
        Parts.equal(error.getMessage().startsWith("WRONGTYPE"), true);
        Parts.equal(r.get(cart + ":wrong"), "x");
    }

    private void reconnect() {
        try (StatefulRedisConnection<String, String> own = client.connect()) {
            long before = own.sync().clientId();
            Parts.equal(r.clientKill(KillArgs.Builder.id(before)), 1L);
            Parts.equal(own.sync().set(cart + ":again", "1"), "OK"); // it connects again by itself
            Parts.equal(own.sync().clientId() != before, true);
        }
    }

    private void lists() throws Exception {
        try (StatefulRedisConnection<String, String> blocker = client.connect()) {
            RedisFuture<KeyValue<String, String>> popped = blocker.async().blpop(10, cart + ":q");
            r.rpush(cart + ":q", "job");
            Parts.equal(popped.get(10, TimeUnit.SECONDS), KeyValue.just(cart + ":q", "job"));
            Parts.equal(blocker.sync().blpop(1, cart + ":q"), null);
        }
    }

    private void sortedSets() {
        r.zadd(ads + ":z", 1.5, "m");
        Parts.equal(r.zscore(ads + ":z", "m"), 1.5);
        Parts.equal(r.zrangeWithScores(ads + ":z", 0, -1), List.of(ScoredValue.just(1.5, "m")));
        Parts.equal(List.of(r.sadd(ads + ":u", "x"), r.smembers(ads + ":u")), List.of(1L, Set.of("x")));
    }

    private void channels() throws Exception {
        BlockingQueue<String> seen = new LinkedBlockingQueue<>();
        try (StatefulRedisPubSubConnection<String, String> sub = client.connectPubSub()) {
            sub.sync().clientSetname("subscriber");
            String id = find("id=(\\d+) .*name=subscriber", r.clientList());
            sub.addListener(new RedisPubSubAdapter<>() {
                @Override public void message(String channel, String message) {
                    seen.add(channel + " " + message);
                }

                @Override public void message(String pattern, String channel, String message) {
                    seen.add(pattern + " " + channel + " " + message);
                }
            });
            sub.sync().subscribe(cart + ":news");
            sub.sync().psubscribe(ads + ":*");
            Parts.equal(r.publish(cart + ":news", "one"), 1L);
            Parts.equal(seen.poll(10, TimeUnit.SECONDS), cart + ":news one");
            Parts.equal(r.publish(ads + ":x", "two"), 1L);
            Parts.equal(seen.poll(10, TimeUnit.SECONDS), ads + ":* " + ads + ":x two");
            Parts.equal(r.clientKill(KillArgs.Builder.id(Long.parseLong(id))), 1L);
            Parts.until(() -> { // it subscribes again by itself; until then messages are lost
                r.publish(cart + ":news", "back");
                return (cart + ":news back").equals(seen.poll());
            });
            sub.sync().unsubscribe(cart + ":news");
        }
    }

    private void scripts() {
        String lua = "return redis.call('INCRBY', KEYS[1], ARGV[1])";
        String[] keys = {ads + ":script"};
        Parts.equal(r.<Long>eval(lua, ScriptOutputType.INTEGER, keys, "4"), 4L);
        Parts.equal(r.<Long>evalsha(r.scriptLoad(lua), ScriptOutputType.INTEGER, keys, "4"), 8L);
    }

    private Object subscribed() {
        try (StatefulRedisPubSubConnection<String, String> sub = client.connectPubSub()) {
            sub.sync().subscribe(cart + ":news");
            return "subscribed";
        }
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
        Class<RedisCommandExecutionException> reply = RedisCommandExecutionException.class;
        parts.beyond("lists", this::lists, reply, ping, () -> r.rpush(cart + ":q", "x"), () -> r.blpop(1, cart + ":q"));
        parts.beyond("sorted sets", this::sortedSets, reply, ping,
            () -> r.zadd(ads + ":z", 1, "m"), () -> r.sadd(ads + ":u", "x"));
        parts.beyond("channels", this::channels, reply, ping, () -> r.publish(cart + ":news", "x"), this::subscribed);
        parts.beyond("scripts", this::scripts, reply, ping,
            () -> r.eval("return redis.call('GET', KEYS[1])", ScriptOutputType.VALUE, new String[] {ads + ":script"}));
        connection.close();
        client.shutdown(Duration.ZERO, Duration.ofSeconds(5));
    }

    public static void main(String[] args) {
        Parts parts = new Parts(args);
        new LettuceCheck(parts).run();
        parts.exit();
    }
}
