//! The two listeners: one for devices, one for back ends.

mod backend;
mod device;
mod error;
mod limits;
mod listener;
mod places;
mod request;

pub(crate) use backend::device_json;
pub use backend::{Access, ROUTES, Route};
pub use limits::Limits;
pub use listener::{Endpoint, ListenError, TlsFiles};

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use crate::app::App;
use listener::Listener;

/// Both listeners, bound and not yet serving.
pub struct Listeners {
    device: Listener,
    backend: Listener,
}

impl Listeners {
    /// Binds both addresses and reads the certificates.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn bind(device: &Endpoint, backend: &Endpoint) -> Result<Listeners, ListenError> {
        Ok(Listeners {
            device: Listener::bind(device).await?,
            backend: Listener::bind(backend).await?,
        })
    }

    /// Where the device side listens: `http` or `https`, and the address.
    pub fn device(&self) -> (&'static str, SocketAddr) {
        self.device.bound()
    }

    /// Where the back-end side listens.
    pub fn backend(&self) -> (&'static str, SocketAddr) {
        self.backend.bound()
    }

    /// Serves until `stop` is done, then lets what is in progress end.
    pub async fn serve(self, app: Arc<App>, stop: impl Future<Output = ()>) {
        let (stopping, stopped) = watch::channel(false);
        let limits = app.limits;
        let devices = self.device.serve(device::router(app.clone()), limits, stopped.clone());
        let backends = self.backend.serve(backend::router(app.clone()), limits, stopped);
        let wait = async {
            stop.await;
            app.stop();
            stopping.send_replace(true);
        };
        tokio::join!(devices, backends, wait);
    }
}
