//! A Redis of one test's own, to be killed, held up and started again. It keeps nothing.

use std::{
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::free_port::free_port;

const START: Duration = Duration::from_secs(60);

/// Runs until it is dropped, or until this process ends, however that happens; keeps its address.
#[derive(Debug)]
pub struct OwnRedis {
    pub url: String,
    port: u16,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    server: Child,
    /// Kills the server when its standard input ends, which it does with this process.
    watch: Child,
}

impl OwnRedis {
    pub fn start() -> Self {
        // Somebody else may take the port in between: then another one is tried.
        let tried = (0..5).find_map(|_| {
            let port = free_port();
            Running::on(port).map(|running| (port, running))
        });
        let (port, running) = tried.expect("no Redis 6 or newer starts: run `make setup`");
        Self { url: format!("redis://127.0.0.1:{port}"), port, running: Some(running) }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.running = None;
    }

    pub fn start_again(&mut self) {
        self.running = Some(Running::on(self.port).expect("it starts where it was"));
    }

    /// It takes connections, and says nothing, until it is told to go on.
    pub fn hold_up(&self) {
        self.signal("STOP");
    }

    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.running.as_ref().expect("it runs").server.id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &pid]).status();
        assert!(sent.expect("kill can be started").success(), "it is not there any more");
    }
}

impl Running {
    /// None if it does not answer there.
    fn on(port: u16) -> Option<Self> {
        let server = ["redis-server", "valkey-server"].into_iter().find_map(|program| {
            let mut server = Command::new(program);
            server.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
            server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/").spawn().ok()
        })?;
        let mut watch = Command::new("sh");
        watch.args(["-c", "read _; kill -9 \"$0\" 2>/dev/null", &server.id().to_string()]).stdin(Stdio::piped());
        let running = Self { server, watch: watch.spawn().expect("sh can be started") };
        answers(port).then_some(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = self.watch.kill();
        let _ = self.watch.wait();
    }
}

fn answers(port: u16) -> bool {
    let began = Instant::now();
    while began.elapsed() < START {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}
