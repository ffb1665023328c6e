//! Where messages may not go: a trap listens on this machine, and nobody who is sent to by a hostile URL may touch it.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use alerts::notify::{
    guard::{Guard, LookUp, System, is_outside},
    plan::Said,
    post::{Letter, Outcome, Post},
    target::{Given, Target},
};
use events::{ClientId, MessageId, Time};
use secrecy::SecretString;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// May be gone to, and nobody answers there.
const NOBODY: &str = "127.0.0.3";

/// Counts who comes.
struct Trap {
    port: u16,
    caught: Arc<AtomicUsize>,
}

impl Trap {
    /// On this machine, in both kinds of addresses where it has both.
    async fn set() -> Self {
        let caught: Arc<AtomicUsize> = Arc::default();
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let second = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await.ok();
        for listener in [Some(first), second].into_iter().flatten() {
            let caught = Arc::clone(&caught);
            tokio::spawn(async move {
                while let Ok((socket, _)) = listener.accept().await {
                    caught.fetch_add(1, Ordering::SeqCst);
                    drop(socket);
                }
            });
        }
        Self { port, caught }
    }

    fn caught(&self) -> usize {
        self.caught.load(Ordering::SeqCst)
    }
}

/// Says that a name has whatever address the name itself tells, and that `turns.example` has another one each time.
#[derive(Debug, Clone, Default)]
struct Hostile {
    asked: Arc<AtomicUsize>,
}

impl LookUp for Hostile {
    async fn addresses(&self, name: String) -> io::Result<Vec<SocketAddr>> {
        let at = |text: &str| text.parse().map(|address| SocketAddr::new(address, 0)).unwrap();
        let turn = self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(match name.as_str() {
            "turns.example" if turn.is_multiple_of(2) => vec![at(NOBODY)],
            "both.example" => vec![at(NOBODY), at("127.0.0.1")],
            "mapped.example" => vec![at("::ffff:127.0.0.1")],
            "metadata.example" => vec![at("169.254.169.254")],
            "private.example" => vec![at("10.0.0.7")],
            "six.example" => vec![at("::1")],
            "unique.example" => vec![at("fd00::1")],
            "link.example" => vec![at("fe80::1")],
            "nat.example" => vec![at("64:ff9b::7f00:1")],
            "none.example" => Vec::new(),
            _ => vec![at("127.0.0.1")],
        })
    }
}

/// Refused by what they say of themselves, where `PORT` is the trap's.
const HOSTILE: [&str; 62] = [
    "http://hooks.example.com/x",
    "http://127.0.0.1:PORT/",
    "ftp://hooks.example.com/x",
    "file:///etc/passwd",
    "gopher://127.0.0.1:PORT/",
    "https:///x",
    "https://",
    "hooks.example.com/x",
    "//127.0.0.1:PORT/",
    "javascript:alert(1)",
    "data:text/plain,x",
    "https://user:password@hooks.example.com/x",
    "https://hooks.example.com@127.0.0.1:PORT/",
    "https://127.0.0.1:PORT/",
    "https://127.1:PORT/",
    "https://127.0.1:PORT/",
    "https://2130706433:PORT/",
    "https://017700000001:PORT/",
    "https://0177.0.0.1:PORT/",
    "https://0x7f000001:PORT/",
    "https://0x7f.0.0.1:PORT/",
    "https://0x7f.1:PORT/",
    "https://127.000.000.001:PORT/",
    "https://127.0.0.1.:PORT/",
    "https://%31%32%37.0.0.1:PORT/",
    "https://１２７.０.０.１:PORT/",
    "https://127。0。0。1:PORT/",
    "https://127.255.255.254:PORT/",
    "https://0:PORT/",
    "https://0.0.0.0:PORT/",
    "https://localhost:PORT/",
    "https://LOCALHOST:PORT/",
    "https://localhost.:PORT/",
    "https://app.localhost:PORT/",
    "https://localhost.localdomain.local:PORT/",
    "https://metadata.google.internal/",
    "https://postgres:PORT/",
    "https://printer.lan/",
    "https://router.home.arpa/",
    "https://169.254.169.254/latest/meta-data/",
    "https://0xa9fea9fe/",
    "https://2852039166/",
    "https://10.0.0.7/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://198.18.0.1/",
    "https://203.0.113.9/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://[::1]:PORT/",
    "https://[::]:PORT/",
    "https://[::ffff:127.0.0.1]:PORT/",
    "https://[::ffff:7f00:1]:PORT/",
    "https://[::127.0.0.1]:PORT/",
    "https://[64:ff9b::7f00:1]:PORT/",
    "https://[2002:7f00:1::]:PORT/",
    "https://[2001:0:7f00:1::]:PORT/",
    "https://[fe80::1]:PORT/",
    "https://[fd00:ec2::254]/",
    "https://[ff02::1]/",
];

/// Let in by what they say, and refused by where they lead.
const NAMES: [&str; 12] = [
    "trap.example",
    "turns.example",
    "both.example",
    "mapped.example",
    "metadata.example",
    "private.example",
    "six.example",
    "unique.example",
    "link.example",
    "nat.example",
    "none.example",
    "127.0.0.1.nip.example",
];

fn letter(said: &Said) -> Letter<'_> {
    let (client, message) = (ClientId(events::Uuid::from_u128(1)), MessageId(events::Uuid::from_u128(2)));
    Letter { client, message, made_at: Time::EPOCH, said }
}

fn telegram() -> url::Url {
    "https://telegram.invalid".parse().unwrap()
}

#[tokio::test]
async fn nobody_who_is_sent_by_a_hostile_url_touches_a_machine_of_ours() {
    let (trap, guard, said) = (Trap::set().await, Guard::default(), Said::Test { of: 1 });
    let post = Post::new(guard.clone(), System, telegram());
    for text in HOSTILE.map(|text| text.replace("PORT", &trap.port.to_string())) {
        let given = Given::Webhook { url: SecretString::from(text.clone()) };
        assert!(given.read(&guard).is_err(), "{text} is let in");
        // And if it lay in the vault since before: it is not gone to either.
        if let Ok(url) = text.parse() {
            let outcome = post.send(&letter(&said), &Target::Webhook(url), &[]).await;
            assert!(matches!(outcome, Outcome::Failed { .. }), "{text}: {outcome:?}");
        }
    }
    let guard = Guard::new(vec![format!("{NOBODY}/32").parse().unwrap()]);
    let post = Post::new(guard.clone(), Hostile::default(), telegram());
    for name in NAMES {
        let text = format!("https://{name}:{}/hook", trap.port);
        let target = Given::Webhook { url: text.into() }.read(&guard).expect("its name tells nothing");
        for _ in 0..2 {
            let outcome = post.send(&letter(&said), &target, &[]).await;
            assert!(matches!(outcome, Outcome::Failed { .. }), "{name}: {outcome:?}");
        }
    }
    assert_eq!(trap.caught(), 0, "somebody was led into the trap");
}

/// Answers every request in the same way, on one of this machine's own addresses.
async fn answers(answer: String) -> (SocketAddr, Arc<AtomicUsize>) {
    let (listener, asked) = (TcpListener::bind(("127.0.0.2", 0)).await.unwrap(), Arc::<AtomicUsize>::default());
    let (at, count) = (listener.local_addr().unwrap(), Arc::clone(&asked));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 8_192];
            let _ = socket.read(&mut request).await;
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    (at, asked)
}

#[tokio::test]
async fn a_place_of_our_own_is_gone_to_where_the_desk_says_so_and_leads_nobody_elsewhere() {
    let (trap, said) = (Trap::set().await, Said::Test { of: 1 });
    let guard = Guard::new(vec!["127.0.0.2/32".parse().unwrap()]);
    let post = Post::new(guard.clone(), System, telegram());
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let answer = format!(
            "HTTP/1.1 {status}\r\nlocation: http://127.0.0.1:{}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            trap.port
        );
        let (at, asked) = answers(answer).await;
        let target = Given::Webhook { url: format!("http://{at}/hook").into() }.read(&guard).unwrap();
        let outcome = post.send(&letter(&said), &target, &[]).await;
        let Outcome::Failed { reason, .. } = outcome else { panic!("{status} was taken for an answer") };
        assert!(reason.contains("nobody follows"), "{reason}");
        assert_eq!((asked.load(Ordering::SeqCst), trap.caught()), (1, 0));
    }
    for (answer, outcome) in [
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), Outcome::Delivered),
        ("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n".to_owned(), Outcome::Gone),
        // One that never ends is not heard out.
        (format!("HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n{}", "x".repeat(100_000)), Outcome::Delivered),
    ] {
        let (at, _) = answers(answer).await;
        let target = Given::Slack { url: format!("http://{at}/hook").into() }.read(&guard).unwrap();
        assert_eq!(post.send(&letter(&said), &target, &[]).await, outcome);
    }
    let busy = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
    let (at, _) = answers(busy.to_owned()).await;
    let target = Given::Slack { url: format!("http://{at}/hook").into() }.read(&guard).unwrap();
    let outcome = post.send(&letter(&said), &target, &[]).await;
    let wait = std::time::Duration::from_secs(7);
    assert_eq!(outcome, Outcome::Failed { reason: "it answered 429".into(), not_before: Some(wait) });
}

#[test]
fn addresses_of_the_internet_are_outside_and_no_others() {
    for outside in ["1.1.1.1", "93.184.216.34", "172.32.0.1", "11.0.0.1", "2606:4700::1111", "2a00:1450:4001::5"] {
        assert!(is_outside(outside.parse().unwrap()), "{outside}");
    }
    for inside in ["::", "::1", "100.127.255.255", "192.0.0.8", "240.0.0.1", "2001:db8::1", "3fff::1", "fec0::1"] {
        assert!(!is_outside(inside.parse().unwrap()), "{inside}");
    }
}
