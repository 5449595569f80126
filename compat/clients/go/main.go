// What an application does with go-redis, checked against the address given: URL [PROTOCOL]; one line says the result.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const cart, ads = "Shop.Cart:go", "Ads.Profile:go"

var (
	ctx  = context.Background()
	done []string
)

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

func either(i int) string {
	if i%2 == 0 {
		return cart
	}
	return ads
}

func doStrings(r *redis.Client) {
	r.Del(ctx, cart+":q", ads+":h", ads+":z", ads+":script")
	equal(must(r.Set(ctx, cart+":s", "ü", 0).Result()), "OK")
	equal(must(r.Get(ctx, cart+":s").Result()), "ü")
	equal(r.Get(ctx, cart+":none").Err(), redis.Nil)
	big := strings.Repeat("\xff", 1<<20)
	must(r.Set(ctx, ads+":b", big, 0).Result())
	equal(must(r.Get(ctx, ads+":b").Result()) == big, true)
	equal(must(r.Del(ctx, cart+":s", ads+":b").Result()), int64(2))
}

func doPipeline(r *redis.Client) {
	pipe := r.Pipeline()
	var gets []*redis.StringCmd
	for i := 0; i < 100; i++ {
		key := fmt.Sprintf("%s:p:%d", either(i), i)
		pipe.Set(ctx, key, i, 0)
		gets = append(gets, pipe.Get(ctx, key))
	}
	must(pipe.Exec(ctx))
	for i, get := range gets {
		equal(get.Val(), strconv.Itoa(i))
	}
}

func doSeveral(r *redis.Client) {
	var keys []string
	var pairs, values []any
	for i := 0; i < 20; i++ {
		key := fmt.Sprintf("%s:m:%d", either(i), i)
		keys = append(keys, key)
		pairs = append(pairs, key, strconv.Itoa(i))
		values = append(values, strconv.Itoa(i))
	}
	equal(must(r.MSet(ctx, pairs...).Result()), "OK")
	equal(must(r.MGet(ctx, append(keys, ads+":none")...).Result()), append(values, nil))
	equal(must(r.Del(ctx, keys...).Result()), int64(20))
}

func doTransactions(r *redis.Client) {
	var incr *redis.IntCmd
	must(r.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Set(ctx, cart+":t", 1, 0)
		incr = pipe.Incr(ctx, cart+":t")
		return nil
	}))
	equal(incr.Val(), int64(2))
	err := r.Watch(ctx, func(tx *redis.Tx) error {
		must(r.Set(ctx, cart+":t", 10, 0).Result())
		_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Incr(ctx, cart+":t")
			return nil
		})
		return err
	}, cart+":t")
	equal(errors.Is(err, redis.TxFailedErr), true)
	equal(must(r.Get(ctx, cart+":t").Result()), "10")
}

func doHashes(r *redis.Client) {
	equal(must(r.HSet(ctx, ads+":h", "a", "1", "b", "2").Result()), int64(2))
	equal(must(r.HGetAll(ctx, ads+":h").Result()), map[string]string{"a": "1", "b": "2"})
	must(r.ZAdd(ctx, ads+":z", redis.Z{Score: 1.5, Member: "m"}).Result())
	equal(must(r.ZScore(ctx, ads+":z", "m").Result()), 1.5)
}

func doExpiry(r *redis.Client) {
	must(r.Set(ctx, cart+":e", 1, 100*time.Second).Result())
	ttl := must(r.TTL(ctx, cart+":e").Result())
	equal(ttl > 0 && ttl <= 100*time.Second, true)
	equal(must(r.Persist(ctx, cart+":e").Result()), true)
	equal(must(r.TTL(ctx, cart+":e").Result()), time.Duration(-1))
}

func doChannels(r *redis.Client) {
	sub := r.Subscribe(ctx, cart+":news")
	defer sub.Close()
	must(sub.ReceiveTimeout(ctx, 5*time.Second))
	if err := sub.PSubscribe(ctx, ads+":*"); err != nil {
		panic(err)
	}
	must(sub.ReceiveTimeout(ctx, 5*time.Second))
	equal(must(r.Publish(ctx, cart+":news", "one").Result()), int64(1))
	message := must(sub.ReceiveTimeout(ctx, 5*time.Second)).(*redis.Message)
	equal([]string{message.Channel, message.Payload}, []string{cart + ":news", "one"})
	equal(must(r.Publish(ctx, ads+":x", "two").Result()), int64(1))
	message = must(sub.ReceiveTimeout(ctx, 5*time.Second)).(*redis.Message)
	equal([]string{message.Pattern, message.Payload}, []string{ads + ":*", "two"})
}

func doBlocking(r *redis.Client) {
	go func() { r.RPush(ctx, cart+":q", "job") }()
	equal(must(r.BLPop(ctx, 5*time.Second, cart+":q").Result()), []string{cart + ":q", "job"})
	equal(r.BLPop(ctx, time.Second, cart+":q").Err(), redis.Nil)
}

func doScanning(r *redis.Client) {
	wanted := map[string]bool{}
	for i := 0; i < 50; i++ {
		for _, namespace := range []string{cart, ads} {
			key := fmt.Sprintf("%s:scan:%d", namespace, i)
			wanted[key] = true
			must(r.Set(ctx, key, 1, 0).Result())
		}
	}
	iterator := r.Scan(ctx, 0, "", 7).Iterator()
	for iterator.Next(ctx) {
		delete(wanted, iterator.Val())
	}
	equal(iterator.Err(), nil)
	equal(len(wanted), 0)
}

func doScripts(r *redis.Client) {
	script := redis.NewScript("return redis.call('INCRBY', KEYS[1], ARGV[1])")
	equal(must(script.Run(ctx, r, []string{ads + ":script"}, 4).Result()), int64(4))
	err := r.LPush(ctx, ads+":script", 1).Err()
	equal(err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE"), true)
	equal(must(r.Ping(ctx).Result()), "PONG")
}

func main() {
	defer func() {
		if failure := recover(); failure != nil {
			fmt.Fprintf(os.Stderr, "after %v: %v\n", done, failure)
			os.Exit(1)
		}
	}()
	options := must(redis.ParseURL(os.Args[1]))
	options.ClientName = "check"
	title := "go-redis " + redis.Version()
	if len(os.Args) > 2 {
		options.Protocol = must(strconv.Atoi(os.Args[2]))
		title += " RESP" + os.Args[2]
	}
	r := redis.NewClient(options)
	defer r.Close()
	for _, check := range []struct {
		name string
		run  func(*redis.Client)
	}{
		{"strings", doStrings}, {"pipeline", doPipeline}, {"several", doSeveral}, {"transactions", doTransactions},
		{"hashes", doHashes}, {"expiry", doExpiry}, {"channels", doChannels}, {"blocking", doBlocking},
		{"scanning", doScanning}, {"scripts", doScripts},
	} {
		check.run(r)
		done = append(done, check.name)
	}
	fmt.Printf("%s: ok, %s\n", title, strings.Join(done, ", "))
}
