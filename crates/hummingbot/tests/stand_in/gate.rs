//! A gate before a broker, that can be shut like a broker that restarts.

use std::{
    net::{SocketAddr, TcpListener as Std},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A way to the broker that can be shut: every connection through it ends and none is let in, until it is opened again.
pub struct Gate {
    pub listen: SocketAddr,
    broker: SocketAddr,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Gate {
    pub async fn before(broker: SocketAddr) -> Self {
        let listen = Std::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut gate = Self { listen, broker, task: None };
        gate.open().await;
        gate
    }

    pub async fn open(&mut self) {
        let listener = until(async || TcpListener::bind(self.listen).await.ok()).await;
        let broker = self.broker;
        self.task = Some(tokio::spawn(async move {
            let mut pipes = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                pipes.spawn(async move {
                    // Either end may end it.
                    if let Ok(mut far) = TcpStream::connect(broker).await {
                        drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
                    }
                });
            }
        }));
    }

    pub async fn shut(&mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        // It is gone with all its connections once it can be waited for.
        drop(task.await);
    }
}

/// Asks again until there is something.
async fn until<T>(mut there: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = there().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
