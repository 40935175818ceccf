//! Where the sweeps happen: one device and one server, with a hand at every place between them.

use std::time::{Duration, Instant};

use serde_json::Value;
use twinseal_swtpm_tests::{
    Api, Device, Disk, EkAuthority, Monitor, Relay, Server, Swtpm, Tap, User,
};

use crate::app::App;

pub const SERVICE: &str = "com.example.till";

/// How long the agent waits for its chip: less than in life, so that a chip can be late often.
pub const DEADLINE_MS: u64 = 3000;

/// What a run must have done by then, whatever has happened to it.
const PATIENCE: Duration = Duration::from_secs(240);

pub struct Ground {
    pub app: App,
    pub api: Api,
    pub monitor: Monitor,
    pub device: Device,
    pub tap: Tap,
    pub relay: Relay,
    pub server: Server,
    pub agents_disk: Disk,
    pub servers_disk: Disk,
    /// The device's id at the server, once it is enrolled.
    pub id: String,
}

impl Ground {
    /// All of it is up; the device is not enrolled.
    pub fn prepare() -> Self {
        let (agents_disk, servers_disk) = (Disk::new(), Disk::new());
        let server = Server::with_environment(&[], servers_disk.environment());
        server.trust(&EkAuthority::shared().root_pem_file());
        let relay = Relay::start(server.device_address());
        let chip = Swtpm::start();
        let tap = Tap::on(&chip);
        let builder = Device::builder().chip(chip).tcti(tap.tcti()).service(SERVICE, &[User::Root]);
        let builder = builder.hardware(&format!("deadline_ms = {DEADLINE_MS}"));
        let mut device = builder.environment(agents_disk.environment()).start();
        device.start_courier(&[]);
        let monitor = Monitor::of(device.bus());
        let app = App::on(&device.bus().address());
        let api = server.api(&["devices:read", "trades:read", "trades:write"]);
        let id = String::new();
        Self { app, api, monitor, device, tap, relay, server, agents_disk, servers_disk, id }
    }

    /// As [`Ground::prepare`], and the device is enrolled.
    pub fn enrolled() -> Self {
        let mut ground = Self::prepare();
        let link = ground.link();
        ground.enrol(&link);
        ground
    }

    /// With a code for one enrolment.
    pub fn link(&self) -> String {
        self.server.link(&format!("http://{}", self.relay.address()))
    }

    /// Starts again whatever has ended, as an init system would.
    pub fn revive(&mut self) {
        if self.server.has_ended() {
            self.assert_no_panic();
            self.server.restart();
            self.relay.set_upstream(self.server.device_address());
            self.api = self.api.moved_to(self.server.backend_address());
        }
        self.device.revive_agent();
        self.device.revive_courier(&[]);
    }

    /// Does `step` until it gives something. What has ended meanwhile is started again.
    pub fn until<T>(&mut self, what: &str, mut step: impl FnMut(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.revive();
            if let Some(done) = step(self) {
                return done;
            }
            assert!(Instant::now() < deadline, "never: {what}\n{}", self.explain());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Until nothing waits for the server any more.
    pub fn settle(&mut self) {
        self.until("nothing waits", |ground| {
            let active = ground.app.state().is_ok_and(|state| state == "Active");
            (active && ground.app.pending() == Ok(0)).then_some(())
        });
    }

    /// GET from the back-end side; nothing unless it succeeds.
    pub fn get(&self, path: &str) -> Option<Value> {
        let reply = self.api.try_send("GET", path, &[], "").ok()?;
        (reply.status == 200).then_some(reply.json)
    }

    /// The path of something of the device's in the back-end side.
    pub fn path(&self, rest: &str) -> String {
        format!("/api/v1/devices/{}{rest}", self.id)
    }

    /// # Panics
    /// When a program has.
    pub fn assert_no_panic(&self) {
        for log in [self.device.agent_log(), self.device.courier_log(), self.server.log()] {
            assert!(!log.contains("panicked"), "{log}");
        }
    }

    pub fn explain(&self) -> String {
        let end = |log: String| log[log.len().saturating_sub(6000)..].to_owned();
        format!(
            "agent:\n{}\ncourier:\n{}\nserver:\n{}",
            end(self.device.agent_log()),
            end(self.device.courier_log()),
            end(self.server.log())
        )
    }
}
