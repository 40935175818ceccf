//! What was on the wire between courier and server, taken apart.

use std::sync::Arc;

use twinseal_scheme::answer::Answer;
use twinseal_scheme::bond::Bond;
use twinseal_scheme::epoch::{ChainKey, EpochKeys, EpochSecret};
use twinseal_scheme::explain::explain;
use twinseal_scheme::message::{DownOpening, Envelope, Opened, open_up};
use twinseal_scheme::{Reason, Secret};
use twinseal_server::app::{App, Folders, Policy};
use twinseal_server::http::Limits;
use twinseal_swtpm_tests::till::Till;
use twinseal_swtpm_tests::{Call, Chip, Recorder, World};

use crate::thief::Thief;

/// What the server's operator can open of a device's messages: its own keys and database.
pub struct Keys {
    bond: Bond,
    keys: Arc<EpochKeys>,
}

impl Keys {
    pub fn of(world: &World, till: &Till) -> Keys {
        let folders =
            Folders { data: world.server().data_dir(), secrets: world.server().secrets_dir() };
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (bond, keys) = runtime.block_on(async {
            let app = App::open(&folders, Limits::default(), Policy::default())
                .await
                .expect("the server's folders");
            app.inspect(&till.id.parse().expect("a device id")).await.expect("an open epoch")
        });
        Keys { bond, keys }
    }

    /// The layers of every message up with this payload, from the outside inwards.
    pub fn layers_up(&self, wire: &Recorder, payload: &str) -> Vec<Vec<&'static str>> {
        let ours = |call: &Call| {
            let envelope = Envelope::decode(&call.request).ok()?;
            let opened = open_up(&self.bond, &self.keys, &envelope).ok()?;
            let parts = explain(&call.request, Some(&opened)).expect("an envelope");
            contains(&opened.content, payload).then(|| layers(&parts))
        };
        wire.calls().iter().filter(|call| call.kind == "message").filter_map(ours).collect()
    }

    /// The same keys for whoever has everything but the chip: another chain key.
    pub fn of_another_chip(&self) -> Keys {
        let chain = ChainKey::kept(self.keys.epoch, Secret::new([0; 32]));
        let secret = EpochSecret::new(&Secret::new([1; 32]), &Secret::new([2; 32]), &[3; 32]);
        let keys = EpochKeys::new(&chain, &secret, self.keys.sequence, self.keys.open_hash);
        Keys { bond: self.bond.clone(), keys: Arc::new(keys) }
    }

    /// Every message down, as the agent got it.
    pub fn downlinks(&self, wire: &Recorder) -> Vec<Vec<u8>> {
        let downlink = |call: &Call| {
            let answer = Answer::open(&self.keys.answer_key(), &call.request, &call.reply).ok()?;
            let Answer::Downlink(bytes) = answer else { return None };
            Some(bytes)
        };
        wire.calls().iter().filter(|call| call.kind == "fetch").filter_map(downlink).collect()
    }

    /// Opens a message down. A copy of the device's chip does the part of its decryption key,
    /// whosever the keys of the serial layer are.
    pub fn open_down(&self, till: &Till, envelope: &[u8]) -> Result<Opened, Reason> {
        self.open_down_with(&Thief::of(&till.device), &till.device.chip().copy(), envelope)
    }

    /// The layers of every message down with this payload, from the outside inwards.
    pub fn layers_down(&self, till: &Till, payload: &str) -> Vec<Vec<&'static str>> {
        let (thief, chip) = (Thief::of(&till.device), till.device.chip().copy());
        let ours = |envelope: &Vec<u8>| {
            let opened = self.open_down_with(&thief, &chip, envelope).ok()?;
            let parts = explain(envelope, Some(&opened)).expect("an envelope");
            contains(&opened.content, payload).then(|| layers(&parts))
        };
        self.downlinks(till.device.wire()).iter().filter_map(ours).collect()
    }

    fn open_down_with(
        &self,
        thief: &Thief,
        chip: &Chip,
        envelope: &[u8],
    ) -> Result<Opened, Reason> {
        let envelope = Envelope::decode(envelope)?;
        let opening = DownOpening::begin(&self.bond, &self.keys, &envelope)?;
        let z = thief.decapsulate(chip, opening.encapsulation());
        opening.finish(&z, thief.server_signing())
    }
}

/// The serial layer, `Es`.
pub const SERIAL: &str = "Es";
/// The key layer upward, `Ea` with the device's private key.
pub const KEY_UP: &str = "Ea, signed";
/// The key layer downward, `Ea` with the device's public key.
pub const KEY_DOWN: &str = "Ea, encrypted";

fn layers(parts: &[twinseal_scheme::explain::Part]) -> Vec<&'static str> {
    let layer = |part: &twinseal_scheme::explain::Part| {
        part.steps?;
        let is_serial = part.fields.iter().any(|(name, _)| *name == "salt");
        Some(match (is_serial, part.structure.starts_with("COSE_Sign1")) {
            (true, _) => SERIAL,
            (_, true) => KEY_UP,
            _ => KEY_DOWN,
        })
    };
    parts.iter().filter_map(layer).collect()
}

pub fn contains(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}
