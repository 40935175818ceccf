//! An application on the device, over D-Bus, that survives its agent.

use std::collections::HashSet;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use twinseal_client::{Agent1Proxy, BUS_NAME, JobProxy, Options, ROOT_PATH, Received, TradeProxy};
use zbus::fdo::IntrospectableProxy;
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath, Variant, connection};

/// Longer than any call may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The user is root, whom the fixture's operator lets trade, and polkit enrol.
pub struct App {
    runtime: Runtime,
    bus: Connection,
}

/// What a call gave; the text of an error is for the one who reads a failed test.
pub type Answer<T> = Result<T, String>;

impl App {
    pub fn on(address: &str) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let bus = runtime
            .block_on(async { connection::Builder::address(address).build().await.unwrap() });
        Self { runtime, bus }
    }

    fn call<T>(&self, call: impl Future<Output = zbus::Result<T>>) -> Answer<T> {
        let answer = self.runtime.block_on(async { timeout(PATIENCE, call).await });
        answer.expect("no call takes longer than 24 seconds").map_err(|error| error.to_string())
    }

    async fn agent(&self) -> zbus::Result<Agent1Proxy<'_>> {
        // Whoever asks for all properties, to keep them, asks the chip for what it is.
        Agent1Proxy::builder(&self.bus).cache_properties(CacheProperties::No).build().await
    }

    async fn trade<'a>(&'a self, path: &'a str) -> zbus::Result<TradeProxy<'a>> {
        TradeProxy::builder(&self.bus).path(path).build().await
    }

    pub fn enrol(&self, link: &str) -> Answer<OwnedObjectPath> {
        let info = [("holder", Variant::from("Bakery"))].into();
        self.call(async { self.agent().await?.enrol(link, info, Options::new()).await })
    }

    /// `Running`, `Completed` or `Failed`.
    pub fn job(&self, path: &OwnedObjectPath) -> Answer<String> {
        self.call(async {
            let builder = JobProxy::builder(&self.bus).path(path);
            builder.cache_properties(CacheProperties::No).build().await?.state().await
        })
    }

    pub fn state(&self) -> Answer<String> {
        self.call(async { self.agent().await?.state().await })
    }

    pub fn pending(&self) -> Answer<u32> {
        self.call(async { self.agent().await?.pending().await })
    }

    pub fn open(&self, service: &str, outer: &str) -> Answer<String> {
        let options = [("outer", Variant::from(outer))].into();
        self.call(async { Ok(self.agent().await?.open_trade(service, options).await?.to_string()) })
    }

    /// The paths of all its trades.
    pub fn trades(&self) -> Answer<HashSet<String>> {
        let folder = format!("{ROOT_PATH}/u0/trade");
        let xml = self.call(async {
            let builder = IntrospectableProxy::builder(&self.bus);
            let proxy = builder.destination(BUS_NAME).path(folder.as_str()).build().await?;
            match proxy.introspect().await {
                // Without a trade there is no folder of trades.
                Err(zbus::fdo::Error::UnknownObject(_)) => Ok(String::new()),
                xml => Ok(xml?),
            }
        });
        let names = |xml: String| {
            let nodes = xml.split("<node name=\"").skip(1);
            nodes.map(|node| format!("{folder}/{}", node.split('"').next().unwrap())).collect()
        };
        xml.map(names)
    }

    pub fn send(&self, trade: &str, message: &str) -> Answer<u64> {
        let payload = message.as_bytes();
        self.call(async { self.trade(trade).await?.send(payload, Options::new()).await })
    }

    /// How many the agent says it has sealed, the opening message among them.
    pub fn sent(&self, trade: &str) -> Answer<u32> {
        self.call(async { self.trade(trade).await?.sent().await })
    }

    pub fn receive(&self, trade: &str, after: u64) -> Answer<Vec<Received>> {
        self.call(async { self.trade(trade).await?.receive(after, 300, Options::new()).await })
    }

    pub fn close(&self, trade: &str) -> Answer<Vec<u8>> {
        let options = [("wait_ms", Variant::from(1000_u32))].into();
        self.call(async { self.trade(trade).await?.close(options).await })
    }

    pub fn stage(&self, trade: &str) -> Answer<String> {
        self.call(async { self.trade(trade).await?.state().await })
    }
}
