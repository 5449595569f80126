// What an application does with go-redis, by its own means: URL PROTOCOL KEYS TYPES. Each part is told on a line of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	ctx       = context.Background()
	url       = os.Args[1]
	protocol  = must(strconv.Atoi(os.Args[2]))
	cart, ads = first(strings.Cut(os.Args[3], ",")) // two beginnings of keys
	allTypes  = os.Args[4] == "all"                 // or strings+hashes
	allBytes  = func() string {
		every := make([]byte, 256)
		for i := range every {
			every[i] = byte(i)
		}
		return string(every)
	}()
)

func first(a, b string, _ bool) (string, string) { return a, b }

func equal(got, wanted any) {
	if !reflect.DeepEqual(got, wanted) {
		panic(fmt.Sprintf("got %#v, wanted %#v", got, wanted))
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func either(i int) string { return []string{cart, ads}[i%2] }

func connect(name string, pool int) *redis.Client {
	options := must(redis.ParseURL(url))
	options.ClientName, options.Protocol, options.PoolSize = name, protocol, pool
	return redis.NewClient(options)
}

// isReply: the library's error for an error reply that begins so.
func isReply(err error, begin string) bool {
	var reply redis.Error
	return errors.As(err, &reply) && strings.HasPrefix(err.Error(), begin)
}

func speaks(r *redis.Client) {
	info := must(r.Do(ctx, "CLIENT", "INFO").Text())
	equal(regexp.MustCompile(` resp=(\d)`).FindStringSubmatch(info)[1], os.Args[2])
}

func doStrings(r *redis.Client) {
	equal(must(r.Set(ctx, cart+":s", "ü", 0).Result()), "OK")
	equal(must(r.Get(ctx, cart+":s").Result()), "ü")
	equal(r.Get(ctx, cart+":none").Err(), redis.Nil)
	for _, value := range []string{"", allBytes, strings.Repeat(allBytes, 400)} { // 100 KiB: TiKV takes 128
		must(r.Set(ctx, ads+":b"+allBytes[:64], value, 0).Result())
		equal(must(r.Get(ctx, ads+":b"+allBytes[:64]).Result()) == value, true)
	}
	equal(must(r.Del(ctx, cart+":s", cart+":none").Result()), int64(1))
}

func pipeline(r *redis.Client) {
	pipe := r.Pipeline()
	var gets []*redis.StringCmd
	for i := 0; i < 100; i++ {
		key := fmt.Sprintf("%s:p:%d", either(i), i)
		pipe.Set(ctx, key, i, 0)
		gets = append(gets, pipe.Get(ctx, key))
	}
	wrong := pipe.HGet(ctx, cart+":p:0", "f")
	_, err := pipe.Exec(ctx)
	equal(isReply(err, "WRONGTYPE") && isReply(wrong.Err(), "WRONGTYPE"), true)
	for i, get := range gets {
		equal(must(get.Result()), strconv.Itoa(i))
	}
}

func several(r *redis.Client) {
	var keys []string
	var pairs, values []any
	for i := 0; i < 20; i++ {
		keys = append(keys, fmt.Sprintf("%s:m:%d", either(i), i))
		pairs = append(pairs, keys[i], strconv.Itoa(i))
		values = append(values, strconv.Itoa(i))
	}
	equal(must(r.MSet(ctx, pairs...).Result()), "OK")
	equal(must(r.MGet(ctx, append(keys, ads+":none")...).Result()), append(values, nil))
	equal(must(r.Del(ctx, keys...).Result()), int64(20))
}

func pool(r *redis.Client) {
	shared := connect("check", 4)
	defer shared.Close()
	var wait sync.WaitGroup
	failures := make(chan error, 200)
	for range 8 {
		wait.Go(func() {
			for range 25 {
				failures <- shared.Incr(ctx, cart+":n").Err()
			}
		})
	}
	wait.Wait()
	for range 200 {
		equal(<-failures, nil)
	}
	equal(must(r.Get(ctx, cart+":n").Int()), 200)
}

func transactions(r *redis.Client) {
	var incr *redis.IntCmd
	must(r.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Set(ctx, cart+":t", 1, 0)
		incr = pipe.Incr(ctx, cart+":t")
		return nil
	}))
	equal(incr.Val(), int64(2))
	disturbed := false
	double := func(tx *redis.Tx) error {
		value := must(tx.Get(ctx, cart+":t").Int())
		if !disturbed {
			disturbed = true
			must(r.Set(ctx, cart+":t", 10, 0).Result())
		}
		_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Set(ctx, cart+":t", value*2, 0)
			return nil
		})
		return err
	}
	equal(errors.Is(r.Watch(ctx, double, cart+":t"), redis.TxFailedErr), true)
	equal(r.Watch(ctx, double, cart+":t"), nil)
	equal(must(r.Get(ctx, cart+":t").Result()), "20")
}

func hashes(r *redis.Client) {
	wanted, seen := map[string]string{}, map[string]string{}
	for i := 0; i < 250; i++ {
		wanted[fmt.Sprintf("f%d", i)] = allBytes[i:]
	}
	equal(must(r.HSet(ctx, ads+":h", wanted).Result()), int64(250))
	equal(must(r.HGetAll(ctx, ads+":h").Result()), wanted)
	iterator := r.HScan(ctx, ads+":h", 0, "", 20).Iterator()
	for iterator.Next(ctx) {
		field := iterator.Val()
		equal(iterator.Next(ctx), true)
		seen[field] = iterator.Val()
	}
	equal(iterator.Err(), nil)
	equal(seen, wanted)
	equal(must(r.HIncrBy(ctx, ads+":h", "n", 5).Result()), int64(5))
}

func expiry(r *redis.Client) {
	must(r.Set(ctx, cart+":e", 1, 100*time.Second).Result())
	ttl := must(r.TTL(ctx, cart+":e").Result())
	equal(ttl > 0 && ttl <= 100*time.Second, true)
	equal(must(r.Persist(ctx, cart+":e").Result()), true)
	equal(must(r.TTL(ctx, cart+":e").Result()), time.Duration(-1))
	must(r.PExpire(ctx, cart+":e", 20*time.Millisecond).Result())
	for end := time.Now().Add(5 * time.Second); must(r.Exists(ctx, cart+":e").Result()) == 1; {
		equal(time.Now().Before(end), true)
	}
}

func scanning(r *redis.Client) {
	wanted := map[string]bool{}
	for i := 0; i < 100; i++ {
		key := fmt.Sprintf("%s:scan:%d", either(i), i)
		wanted[key] = true
		must(r.Set(ctx, key, 1, 0).Result())
	}
	matched := map[string]bool{}
	iterator := r.Scan(ctx, 0, ads+":scan:*", 7).Iterator()
	for iterator.Next(ctx) {
		matched[iterator.Val()] = true
	}
	equal(len(matched), 50)
	iterator = r.Scan(ctx, 0, "", 7).Iterator()
	for iterator.Next(ctx) {
		delete(wanted, iterator.Val())
	}
	equal([]any{iterator.Err(), len(wanted)}, []any{nil, 0})
}

func wrongType(r *redis.Client) {
	must(r.Set(ctx, cart+":wrong", "x", 0).Result())
	equal(isReply(r.HSet(ctx, cart+":wrong", "f", 1).Err(), "WRONGTYPE"), true)
	equal(must(r.Get(ctx, cart+":wrong").Result()), "x")
}

func reconnect(r *redis.Client) {
	own := connect("check", 1)
	defer own.Close()
	before := must(own.ClientID(ctx).Result())
	equal(must(r.ClientKillByFilter(ctx, "ID", strconv.FormatInt(before, 10)).Result()), int64(1))
	equal(must(own.Set(ctx, cart+":again", 1, 0).Result()), "OK") // go-redis tries again by itself
	equal(must(own.ClientID(ctx).Result()) != before, true)
}

func lists(r *redis.Client) {
	go r.RPush(ctx, cart+":q", "job")
	equal(must(r.BLPop(ctx, 10*time.Second, cart+":q").Result()), []string{cart + ":q", "job"})
	equal(r.BLPop(ctx, time.Second, cart+":q").Err(), redis.Nil)
}

func sortedSets(r *redis.Client) {
	must(r.ZAdd(ctx, ads+":z", redis.Z{Score: 1.5, Member: "m"}).Result())
	equal(must(r.ZScore(ctx, ads+":z", "m").Result()), 1.5)
	equal(must(r.ZRangeWithScores(ctx, ads+":z", 0, -1).Result()), []redis.Z{{Score: 1.5, Member: "m"}})
	equal(must(r.SAdd(ctx, ads+":u", "x").Result()), int64(1))
}

func channels(r *redis.Client) {
	own := connect("subscriber", 2)
	defer own.Close()
	sub := own.Subscribe(ctx, cart+":news")
	defer sub.Close()
	must(sub.Receive(ctx))
	equal(sub.PSubscribe(ctx, ads+":*"), nil)
	must(sub.Receive(ctx))
	messages := sub.Channel()
	next := func() *redis.Message {
		select {
		case message := <-messages:
			return message
		case <-time.After(10 * time.Second):
			panic("no message")
		}
	}
	equal(must(r.Publish(ctx, cart+":news", allBytes).Result()), int64(1))
	equal(next().Payload, allBytes)
	equal(must(r.Publish(ctx, ads+":x", "two").Result()), int64(1))
	equal(next().Pattern, ads+":*")
	list := must(r.ClientList(ctx).Result())
	for _, found := range regexp.MustCompile(`id=(\d+) .*name=subscriber`).FindAllStringSubmatch(list, -1) {
		must(r.ClientKillByFilter(ctx, "ID", found[1]).Result())
	}
	for end := time.Now().Add(10 * time.Second); ; { // it subscribes again by itself; until then messages are lost
		must(r.Publish(ctx, cart+":news", "back").Result())
		select {
		case message := <-messages:
			equal(message.Payload, "back")
			return
		default:
			equal(time.Now().Before(end), true)
		}
	}
}

func scripts(r *redis.Client) {
	script := redis.NewScript("return redis.call('INCRBY', KEYS[1], ARGV[1])")
	equal(must(script.Run(ctx, r, []string{ads + ":script"}, 4).Result()), int64(4))
	equal(must(script.Run(ctx, r, []string{ads + ":script"}, 4).Result()), int64(8))
}

// subscribed is the error that reading the answer to SUBSCRIBE gives.
func subscribed(r *redis.Client) error {
	sub := r.Subscribe(ctx, cart+":news")
	defer sub.Close()
	_, err := sub.Receive(ctx)
	return err
}

type part struct {
	name    string
	run     func(*redis.Client)
	refused func(*redis.Client) []error // where a store may lack it: what its calls end with there
}

var parts = []part{
	{"protocol", speaks, nil}, {"strings", doStrings, nil}, {"pipeline", pipeline, nil}, {"several", several, nil},
	{"pool", pool, nil}, {"transactions", transactions, nil}, {"hashes", hashes, nil}, {"expiry", expiry, nil},
	{"scanning", scanning, nil}, {"errors", wrongType, nil}, {"reconnect", reconnect, nil},
	{"lists", lists, func(r *redis.Client) []error {
		return []error{r.RPush(ctx, cart+":q", 1).Err(), r.BLPop(ctx, time.Second, cart+":q").Err()}
	}},
	{"sorted sets", sortedSets, func(r *redis.Client) []error {
		return []error{r.ZAdd(ctx, ads+":z", redis.Z{Score: 1, Member: "m"}).Err(), r.SAdd(ctx, ads+":u", "x").Err()}
	}},
	{"channels", channels, func(r *redis.Client) []error {
		return []error{r.Publish(ctx, cart+":news", 1).Err(), subscribed(r)}
	}},
	{"scripts", scripts, func(r *redis.Client) []error {
		return []error{r.Eval(ctx, "return redis.call('GET', KEYS[1])", []string{ads + ":script"}).Err()}
	}},
}

func (p part) outcome(r *redis.Client) (told string) {
	defer func() {
		if failure := recover(); failure != nil {
			told = "FAILED " + strings.Join(strings.Fields(fmt.Sprint(failure)), " ")
		}
	}()
	if allTypes || p.refused == nil {
		p.run(r)
		return "ok"
	}
	for _, err := range p.refused(r) {
		if !isReply(err, "ERR") || !strings.Contains(err.Error(), "is not supported by") {
			panic(fmt.Sprintf("refused with %v", err))
		}
		equal(must(r.Ping(ctx).Result()), "PONG")
	}
	return "unsupported"
}

func main() {
	r := connect("check", 10)
	code := 0
	for _, p := range parts {
		told := p.outcome(r)
		if strings.HasPrefix(told, "FAILED") {
			code = 1
		}
		fmt.Printf("%s: %s\n", p.name, told)
	}
	_ = r.Close()
	os.Exit(code)
}
