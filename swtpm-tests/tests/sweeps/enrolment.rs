//! An enrolment, and the way back to before it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::ground::Ground;

/// All that a device and a server have on their disks and in the chip before an enrolment, and a
/// link with a code that is good for one.
pub struct Before {
    folder: TempDir,
    link: String,
}

/// Where swtpm keeps what a TPM remembers without power.
const CHIP: &str = "tpm2-00.permall";

impl Ground {
    /// Enrols, or goes on with it, until device and server agree that it is done.
    pub fn enrol(&mut self, link: &str) {
        // Where the answer is lost, the state says whether the agent has begun.
        let mut is_in_doubt = false;
        self.until("begun", |ground| {
            if is_in_doubt {
                let state = ground.app.state().ok()?;
                is_in_doubt = false;
                return ["Enrolling", "Active"].contains(&state.as_str()).then_some(());
            }
            let begun = ground.app.enrol(link);
            is_in_doubt = begun.is_err();
            begun.ok().map(drop)
        });
        self.until("enrolled", |ground| {
            let state = ground.app.state().ok()?;
            assert_ne!(state, "NotEnrolled", "what was begun goes on\n{}", ground.explain());
            (state == "Active").then_some(())
        });
        let device = self.enrolled_device();
        self.id = device["device"].as_str().unwrap().to_owned();
    }

    /// Enrols the device once more. What the agent did not begin the operator tries again; what
    /// it has begun is done.
    pub fn enrol_again(&mut self) {
        let before = self.enrolled_device();
        let link = self.link();
        let job = self.until("begun", |ground| ground.app.enrol(&link).ok());
        let ended = self
            .until("an end", |ground| ground.app.job(&job).ok().filter(|state| state != "Running"));
        assert_eq!(ended, "Completed", "{}", self.explain());
        let after = self.enrolled_device();
        assert_eq!(after["device"], before["device"]);
        assert!(after["generation"].as_u64() > before["generation"].as_u64(), "{before} {after}");
    }

    /// The one device that the server knows, when it has heard of its epoch.
    fn enrolled_device(&mut self) -> Value {
        self.settle();
        let devices = self.until("devices", |ground| ground.get("/api/v1/devices"));
        let [device] = devices["devices"].as_array().unwrap().as_slice() else {
            panic!("one device, and no half one: {devices}");
        };
        assert_eq!((&device["state"], &device["alarm"]), (&"active".into(), &Value::Null));
        device.clone()
    }

    /// Keeps everything, for [`Ground::go_back`].
    pub fn keep(&mut self) -> Before {
        let before = Before { folder: tempfile::tempdir().unwrap(), link: self.link() };
        self.stop();
        let place = before.folder.path();
        copy(&self.server.data_dir(), &place.join("data"));
        copy(&self.server.secrets_dir(), &place.join("secrets"));
        fs::copy(self.device.tpm().state_dir().join(CHIP), place.join(CHIP)).unwrap();
        self.start();
        before
    }

    /// As it was before; gives the link.
    pub fn go_back<'a>(&mut self, before: &'a Before) -> &'a str {
        self.stop();
        let place = before.folder.path();
        for (kept, now) in
            [("data", self.server.data_dir()), ("secrets", self.server.secrets_dir())]
        {
            fs::remove_dir_all(&now).unwrap();
            copy(&place.join(kept), &now);
        }
        fs::copy(place.join(CHIP), self.device.tpm().state_dir().join(CHIP)).unwrap();
        fs::remove_dir_all(self.device.state_dir()).unwrap();
        self.start();
        &before.link
    }

    fn stop(&mut self) {
        self.assert_no_panic();
        self.device.stop_courier();
        self.device.kill_agent();
        self.device.tpm_mut().kill();
        self.server.kill();
    }

    fn start(&mut self) {
        self.device.tpm_mut().restart();
        self.revive();
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success(), "{}", from.display());
}
