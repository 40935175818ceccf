//! What one peer may use up.

use std::time::Duration;

/// Limits on everything that a peer can make the server hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections of one listener at one time. A further one takes the place of that which has
    /// kept the server waiting longest, or waits while all of them are worked for.
    pub connections_max: usize,
    /// Long polls at one time; further ones are answered at once.
    pub polls_max: usize,
    /// Long polls of one device at one time: it has one, and others may not have noticed yet
    /// that nobody listens.
    pub device_polls_max: usize,
    /// The longest that a long poll waits.
    pub poll_max: Duration,
    /// How long a peer may take for a TLS handshake, and for the head of a request; also how
    /// long a connection may be idle.
    pub head_timeout: Duration,
    /// How long a peer may take for the body of a request.
    pub body_timeout: Duration,
    /// The longest life of a connection: nobody keeps one by reading slowly.
    pub connection_life: Duration,
    /// How long requests in progress may take when the server stops.
    pub drain: Duration,
    /// The longest body from a device, bytes: an envelope, and room for its frame.
    pub device_body_max: usize,
    /// The longest body from a back end, bytes: the longest payload in base64, and its frame.
    pub backend_body_max: usize,
    /// Messages that may wait to go down to one device.
    pub queue_max: u32,
    /// Messages of one device that may wait for back ends.
    pub inbox_max: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 1024,
            polls_max: 768,
            device_polls_max: 4,
            poll_max: Duration::from_secs(25),
            head_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(15),
            connection_life: Duration::from_secs(600),
            drain: Duration::from_secs(10),
            device_body_max: 257 * 1024,
            backend_body_max: 384 * 1024,
            queue_max: 1024,
            inbox_max: 10_000,
        }
    }
}
