//! What an application does with redis-rs, by its own means: URL PROTOCOL KEYS TYPES. Each part is told on a line of its own.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use futures_util::StreamExt;
use redis::aio::ConnectionManagerConfig;
use redis::{AsyncCommands, Client, Commands, Connection, ErrorKind, PushKind, RedisError, RedisResult, Value};
use tokio::time::timeout;

type Done = Result<(), Box<dyn Error>>;

macro_rules! same {
    ($got:expr, $wanted:expr) => {{
        let (got, wanted) = ($got, $wanted);
        if got != wanted {
            return Err(format!("line {}: got {:?}, wanted {:?}", line!(), got, wanted).into());
        }
    }};
}

/// What all parts use.
struct Check {
    client: Client,
    r: Connection,
    protocol: String,
    cart: String,
    ads: String,
    all_types: bool,
}

fn all_bytes() -> Vec<u8> {
    (0..=255).collect()
}

/// The error that this call must end with.
fn failure<T: std::fmt::Debug>(told: RedisResult<T>) -> Result<RedisError, Box<dyn Error>> {
    match told {
        Ok(value) => Err(format!("no error, but {value:?}").into()),
        Err(error) => Ok(error),
    }
}

fn found(text: &str, before: &str) -> String {
    let rest = text.split(before).nth(1).unwrap_or("");
    rest.split([' ', '\n']).next().unwrap_or("").to_string()
}

impl Check {
    fn cart(&self, rest: &str) -> String {
        format!("{}:{rest}", self.cart)
    }

    fn ads(&self, rest: &str) -> String {
        format!("{}:{rest}", self.ads)
    }

    fn either(&self, i: usize, rest: &str) -> String {
        format!("{}:{rest}:{i}", if i % 2 == 0 { &self.cart } else { &self.ads })
    }

    fn speaks(&mut self) -> Done {
        let info: String = redis::cmd("CLIENT").arg("INFO").query(&mut self.r)?;
        same!(&found(&info, " resp="), &self.protocol);
        Ok(())
    }

    fn strings(&mut self) -> Done {
        let key = [self.ads("b").as_bytes(), &all_bytes()[..64]].concat();
        for value in [Vec::new(), all_bytes(), all_bytes().repeat(400)] {
            // The last has 100 KiB: TiKV takes 128
            self.r.set::<_, _, ()>(&key, &value)?;
            same!(self.r.get::<_, Vec<u8>>(&key)? == value, true);
        }
        self.r.set::<_, _, ()>(self.cart("s"), "ü")?;
        same!(self.r.get::<_, Option<String>>(self.cart("s"))?, Some("ü".into()));
        same!(self.r.get::<_, Option<String>>(self.cart("none"))?, None);
        same!(self.r.del::<_, i64>(&[self.cart("s"), self.cart("none")])?, 1);
        Ok(())
    }

    fn pipeline(&mut self) -> Done {
        let mut pipe = redis::pipe();
        for i in 0..100 {
            pipe.set(self.either(i, "p"), i).ignore().get(self.either(i, "p"));
        }
        same!(pipe.query::<Vec<usize>>(&mut self.r)?, (0..100).collect::<Vec<_>>());
        let wrong = redis::pipe().hget(self.either(0, "p"), "f").get(self.either(1, "p")).query::<Vec<Value>>(&mut self.r);
        same!(failure(wrong)?.to_string().contains("WRONGTYPE"), true);
        same!(self.r.get::<_, usize>(self.either(2, "p"))?, 2);
        Ok(())
    }

    fn several(&mut self) -> Done {
        let pairs: Vec<(String, usize)> = (0..20).map(|i| (self.either(i, "m"), i)).collect();
        let keys: Vec<&String> = pairs.iter().map(|(key, _)| key).collect();
        self.r.mset::<_, _, ()>(&pairs)?;
        same!(self.r.mget::<_, Vec<usize>>(&keys)?, (0..20).collect::<Vec<_>>());
        same!((self.r.exists::<_, i64>(&keys)?, self.r.del::<_, i64>(&keys)?), (20, 20));
        Ok(())
    }

    /// Threads with a pool, then tasks that share one multiplexed connection.
    async fn pool(&mut self) -> Done {
        let shared = r2d2::Pool::builder().max_size(4).build(self.client.clone())?;
        let key = self.cart("n");
        let once = || shared.get()?.incr::<_, _, ()>(&key, 1).map_err(Box::<dyn Error + Send + Sync>::from);
        std::thread::scope(|scope| {
            let work = || (0..25).try_for_each(|_| once());
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
        })
        .map_err(|error| error.to_string())?;
        let multiplexed = self.client.get_multiplexed_async_connection().await?;
        let counted = (0..200).map(|_| {
            let mut own = multiplexed.clone();
            let key = &key;
            async move { own.incr::<_, _, i64>(key, 1).await }
        });
        same!(try_join_all(counted).await?.into_iter().max(), Some(400));
        Ok(())
    }

    fn transactions(&mut self) -> Done {
        let key = self.cart("t");
        let block: (i64,) = redis::pipe().atomic().set(&key, 1).ignore().incr(&key, 1).query(&mut self.r)?;
        same!(block, (2,));
        let mut other = self.client.get_connection()?;
        let mut tries = Vec::new();
        let doubled: (i64,) = redis::transaction(&mut self.r, &[&key], |con, pipe| {
            let value: i64 = con.get(&key)?;
            if tries.is_empty() {
                other.set::<_, _, ()>(&key, 10)?;
            }
            tries.push(value);
            pipe.set(&key, value * 2).ignore().get(&key).query(con)
        })?;
        same!((tries, doubled), (vec![2, 10], (20,)));
        Ok(())
    }

    fn hashes(&mut self) -> Done {
        let key = self.ads("h");
        let fields: HashMap<String, Vec<u8>> = (0..250).map(|i| (format!("f{i}"), all_bytes()[i..].to_vec())).collect();
        let pairs: Vec<_> = fields.iter().collect();
        self.r.hset_multiple::<_, _, _, ()>(&key, &pairs)?;
        same!(self.r.hgetall::<_, HashMap<String, Vec<u8>>>(&key)? == fields, true);
        let seen = self.r.hscan::<_, (String, Vec<u8>)>(&key)?.collect::<RedisResult<HashMap<_, _>>>()?;
        same!(seen == fields, true);
        same!((self.r.hdel::<_, _, i64>(&key, &["f1", "none"])?, self.r.hincr::<_, _, _, i64>(&key, "n", 5)?), (1, 5));
        Ok(())
    }

    fn expiry(&mut self) -> Done {
        let key = self.cart("e");
        self.r.set_ex::<_, _, ()>(&key, 1, 100)?;
        same!((1..=100).contains(&self.r.ttl::<_, i64>(&key)?), true);
        same!((self.r.persist::<_, bool>(&key)?, self.r.ttl::<_, i64>(&key)?), (true, -1));
        self.r.pexpire::<_, ()>(&key, 20)?;
        let end = Instant::now() + Duration::from_secs(5);
        while self.r.exists::<_, bool>(&key)? {
            same!(Instant::now() < end, true);
        }
        Ok(())
    }

    fn scanning(&mut self) -> Done {
        let wanted: HashSet<String> = (0..100).map(|i| self.either(i, "scan")).collect();
        for key in &wanted {
            self.r.set::<_, _, ()>(key, 1)?;
        }
        let seen = self.r.scan::<String>()?.collect::<RedisResult<HashSet<_>>>()?;
        same!(wanted.is_subset(&seen), true);
        let matched = self.r.scan_match::<_, String>(self.ads("scan:*"))?.collect::<RedisResult<HashSet<_>>>()?;
        same!((matched.len(), matched.is_subset(&wanted)), (50, true));
        Ok(())
    }

    fn errors(&mut self) -> Done {
        self.r.set::<_, _, ()>(self.cart("wrong"), "x")?;
        let error = failure(self.r.hset::<_, _, _, i64>(self.cart("wrong"), "f", 1))?;
        same!(error.code(), Some("WRONGTYPE"));
        same!(self.r.get::<_, String>(self.cart("wrong"))?, "x");
        Ok(())
    }

    fn kill(&mut self, id: i64) -> RedisResult<i64> {
        redis::cmd("CLIENT").arg(&["KILL", "ID"]).arg(id).query(&mut self.r)
    }

    /// A pool looks at a connection before it gives it; a manager connects again by itself, and says that a command was lost.
    async fn reconnect(&mut self) -> Done {
        let shared = r2d2::Pool::builder().max_size(1).build(self.client.clone())?;
        let before: i64 = redis::cmd("CLIENT").arg("ID").query(&mut *shared.get()?)?;
        same!(self.kill(before)?, 1);
        same!(redis::cmd("CLIENT").arg("ID").query::<i64>(&mut *shared.get()?)? != before, true);
        let mut manager = self.client.get_connection_manager().await?;
        let before: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut manager).await?;
        same!(self.kill(before)?, 1);
        let end = Instant::now() + Duration::from_secs(5);
        while let Err(error) = manager.set::<_, _, ()>(self.cart("again"), 1).await {
            same!((error.is_connection_dropped() || error.is_io_error(), Instant::now() < end), (true, true));
        }
        same!(redis::cmd("CLIENT").arg("ID").query_async::<i64>(&mut manager).await? != before, true);
        Ok(())
    }

    fn lists(&mut self) -> Done {
        let key = self.cart("q");
        let (mut other, pushed) = (self.client.get_connection()?, key.clone());
        let pusher = std::thread::spawn(move || other.rpush::<_, _, i64>(pushed, "job"));
        same!(self.r.blpop::<_, (String, String)>(&key, 10.0)?, (key.clone(), "job".into()));
        pusher.join().expect("no panic")?;
        same!(self.r.blpop::<_, Option<(String, String)>>(&key, 1.0)?, None);
        Ok(())
    }

    fn sorted_sets(&mut self) -> Done {
        same!(self.r.zadd::<_, _, _, i64>(self.ads("z"), "m", 1.5)?, 1);
        same!(self.r.zscore::<_, _, f64>(self.ads("z"), "m")?, 1.5);
        same!(self.r.zrange_withscores::<_, Vec<(String, f64)>>(self.ads("z"), 0, -1)?, vec![("m".into(), 1.5)]);
        same!(self.r.sadd::<_, _, i64>(self.ads("u"), "x")?, 1);
        same!(self.r.smembers::<_, HashSet<String>>(self.ads("u"))?, HashSet::from(["x".to_string()]));
        Ok(())
    }

    /// In RESP3 messages are pushes, on a connection that gets its channels back after it was closed.
    async fn channels(&mut self) -> Done {
        let (news, soon) = (self.cart("news"), Duration::from_secs(10));
        if self.protocol == "2" {
            let mut sub = self.client.get_async_pubsub().await?;
            sub.subscribe(&news).await?;
            sub.psubscribe(self.ads("*")).await?;
            same!(self.r.publish::<_, _, i64>(&news, all_bytes())?, 1);
            same!(self.r.publish::<_, _, i64>(self.ads("x"), "two")?, 1);
            let mut messages = sub.on_message();
            let mut got = HashSet::new();
            for _ in 0..2 {
                got.insert(timeout(soon, messages.next()).await?.ok_or("no message")?.get_payload::<Vec<u8>>()?);
            }
            same!(got, HashSet::from([all_bytes(), b"two".to_vec()]));
            return Ok(());
        }
        let (sender, mut pushes) = tokio::sync::mpsc::unbounded_channel();
        let config = ConnectionManagerConfig::new().set_push_sender(sender).set_automatic_resubscription();
        let mut sub = self.client.get_connection_manager_with_config(config).await?;
        sub.subscribe(&news).await?;
        let id: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut sub).await?;
        same!(self.r.publish::<_, _, i64>(&news, all_bytes())?, 1);
        let mut message = async |wait| loop {
            match timeout(wait, pushes.recv()).await {
                Ok(Some(push)) if push.kind == PushKind::Message => return Some(push.data[1].clone()),
                Ok(Some(_)) => {}
                _ => return None,
            }
        };
        same!(message(soon).await, Some(Value::BulkString(all_bytes())));
        same!(self.kill(id)?, 1);
        let end = Instant::now() + soon;
        loop {
            // It subscribes again by itself; until then messages are lost
            self.r.publish::<_, _, i64>(&news, "back")?;
            if let Some(back) = message(Duration::from_millis(20)).await {
                same!(back, Value::BulkString(b"back".to_vec()));
                return Ok(());
            }
            same!(Instant::now() < end, true);
        }
    }

    fn scripts(&mut self) -> Done {
        let script = redis::Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
        for wanted in [4, 8] {
            same!(script.key(self.ads("script")).arg(4).invoke::<i64>(&mut self.r)?, wanted);
        }
        Ok(())
    }

    /// Where the store lacks a part: its commands end with the library's error of a server, and the connection goes on.
    async fn refused(&mut self, part: &str) -> Done {
        let (queue, scores, members, news) = (self.cart("q"), self.ads("z"), self.ads("u"), self.cart("news"));
        let errors = match part {
            "lists" => [failure(self.r.rpush::<_, _, i64>(&queue, 1))?, failure(self.r.blpop::<_, Value>(&queue, 1.0))?],
            "sorted sets" => [
                failure(self.r.zadd::<_, _, _, i64>(&scores, "m", 1))?,
                failure(self.r.sadd::<_, _, i64>(&members, "x"))?,
            ],
            "channels" => {
                // The blocking PubSub of redis-rs does not look at the answer to SUBSCRIBE, whatever the server; this one does
                let subscribed = if self.protocol == "2" {
                    self.client.get_async_pubsub().await?.subscribe(&news).await
                } else {
                    let config = ConnectionManagerConfig::new().set_push_sender(tokio::sync::mpsc::unbounded_channel().0);
                    self.client.get_connection_manager_with_config(config).await?.subscribe(&news).await
                };
                [failure(subscribed)?, failure(self.r.publish::<_, _, i64>(&news, 1))?]
            }
            _ => {
                let script = redis::Script::new("return redis.call('GET', KEYS[1])");
                let get = redis::cmd("EVAL").arg("return 1").arg(1).arg(&queue).query::<Value>(&mut self.r);
                [failure(script.key(&queue).invoke::<Value>(&mut self.r))?, failure(get)?]
            }
        };
        for error in errors {
            let lacking = error.to_string().contains("is not supported by");
            same!((matches!(error.kind(), ErrorKind::Server(_)), lacking), (true, true));
        }
        same!(redis::cmd("PING").query::<String>(&mut self.r)?, "PONG");
        Ok(())
    }

    async fn part(&mut self, name: &str) -> Done {
        match name {
            "protocol" => self.speaks(),
            "strings" => self.strings(),
            "pipeline" => self.pipeline(),
            "several" => self.several(),
            "pool" => self.pool().await,
            "transactions" => self.transactions(),
            "hashes" => self.hashes(),
            "expiry" => self.expiry(),
            "scanning" => self.scanning(),
            "errors" => self.errors(),
            "reconnect" => self.reconnect().await,
            _ if !self.all_types => self.refused(name).await,
            "lists" => self.lists(),
            "sorted sets" => self.sorted_sets(),
            "channels" => self.channels().await,
            _ => self.scripts(),
        }
    }
}

const EVERYWHERE: [&str; 11] = [
    "protocol", "strings", "pipeline", "several", "pool", "transactions",
    "hashes", "expiry", "scanning", "errors", "reconnect",
];
const BEYOND: [&str; 4] = ["lists", "sorted sets", "channels", "scripts"];

#[tokio::main]
async fn main() -> Done {
    let words: Vec<String> = std::env::args().collect();
    let [_, url, protocol, keys, types] = &words[..] else { return Err("URL PROTOCOL KEYS TYPES".into()) };
    let client = Client::open(format!("{url}?protocol=resp{protocol}"))?;
    let (cart, ads) = keys.split_once(',').ok_or("KEYS: two beginnings with a comma between")?;
    let r = client.get_connection()?;
    let (cart, ads, protocol) = (cart.to_string(), ads.to_string(), protocol.to_string());
    let mut check = Check { client, r, protocol, cart, ads, all_types: types == "all" };
    let mut code = 0;
    for name in EVERYWHERE.iter().chain(&BEYOND) {
        let outcome = if BEYOND.contains(name) && !check.all_types { "unsupported" } else { "ok" };
        match check.part(name).await {
            Ok(()) => println!("{name}: {outcome}"),
            Err(error) => {
                code = 1;
                println!("{name}: FAILED {}", error.to_string().split_whitespace().collect::<Vec<_>>().join(" "));
            }
        }
    }
    std::process::exit(code)
}
