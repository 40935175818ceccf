//! Where a fixture lets others in: a listening socket that is closed with it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Accepts connections on a thread of its own, as long as it lives.
#[derive(Debug)]
pub(crate) struct Door {
    address: SocketAddr,
    is_closed: Arc<AtomicBool>,
}

impl Door {
    /// Has `meet` see to everybody who connects, one after the other.
    pub(crate) fn open(
        listener: TcpListener,
        mut meet: impl FnMut(TcpStream) + Send + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("a bound socket");
        let is_closed = Arc::new(AtomicBool::new(false));
        let closed = Arc::clone(&is_closed);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if closed.load(Ordering::SeqCst) {
                    return;
                }
                meet(client);
            }
        });
        Self { address, is_closed }
    }

    /// Where to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.is_closed.store(true, Ordering::SeqCst);
        // The accepting thread notices when somebody knocks.
        let _ = TcpStream::connect(self.address);
    }
}
