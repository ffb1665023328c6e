//! A line between two programs that can be cut: what is under way then is lost, and nobody gets through until it is mended.

use std::sync::Arc;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// A line to a port of this machine.
#[derive(Debug)]
pub struct Line {
    port: u16,
    cut: Arc<watch::Sender<bool>>,
    task: JoinHandle<()>,
}

impl Line {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let here = listener.local_addr().expect("it has an address").port();
        let cut = Arc::new(watch::channel(false).0);
        let task = tokio::spawn(carry(listener, port, Arc::clone(&cut)));
        Self { port: here, cut, task }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on nothing gets through, and what does is cut off without a word: each side waits for the other.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    pub fn mend(&self) {
        self.cut.send_replace(false);
    }
}

async fn carry(listener: TcpListener, port: u16, cut: Arc<watch::Sender<bool>>) {
    while let Ok((mut here, _)) = listener.accept().await {
        let mut state = cut.subscribe();
        tokio::spawn(async move {
            // A cut line takes the call and says nothing.
            if state.wait_for(|cut| !cut).await.is_err() {
                return;
            }
            let Ok(mut there) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            let is_cut = {
                let mut state = state.clone();
                async move { drop(state.wait_for(|cut| *cut).await) }
            };
            tokio::select! {
                _ = copy_bidirectional(&mut here, &mut there) => return,
                () = is_cut => {}
            }
            // Neither side hears of it until the line is mended.
            let _ = state.wait_for(|cut| !cut).await;
        });
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}
