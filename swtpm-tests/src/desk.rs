//! A user at a device who has keys of his own, and files to use them on.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::bus::User;
use crate::device::Device;

/// One user's `twinseal key`, and a folder for what goes in and comes out.
#[derive(Debug)]
pub struct Desk<'a> {
    device: &'a Device,
    user: User,
    folder: PathBuf,
}

impl Desk<'_> {
    /// Of a user who may have keys.
    pub fn of(device: &Device, user: User) -> Desk<'_> {
        let folder = device.bus().folder().join(format!("desk-{}", user.uid()));
        fs::create_dir_all(&folder).expect("a new folder");
        chown(&folder, Some(user.uid()), Some(user.uid())).expect("root gives a folder away");
        Desk { device, user, folder }
    }

    /// The path of a file.
    pub fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Writes a file, and gives its path.
    pub fn put(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.folder.join(name), bytes).expect("a file of ours");
        self.file(name)
    }

    /// What a file holds.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.join(name)).expect("a file")
    }

    /// Exit code and object of `twinseal --json key`.
    pub fn try_key(&self, arguments: &[&str]) -> (i32, Value) {
        let all = [&["--json", "key"], arguments].concat();
        let output = self.device.run(self.user, "twinseal", &all);
        let json = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{arguments:?}: {output:?}"));
        (output.status.code().expect("a program that ends by itself"), json)
    }

    /// The same, which succeeds.
    #[track_caller]
    pub fn key(&self, arguments: &[&str]) -> Value {
        let (code, json) = self.try_key(arguments);
        assert_eq!(code, 0, "{arguments:?}: {json}");
        json
    }

    /// A new key; gives its name.
    #[track_caller]
    pub fn create(&self, arguments: &[&str]) -> String {
        let made = self.key(&[&["create"], arguments].concat());
        made["key"].as_str().expect("a name").to_owned()
    }

    /// Whether `openssl` succeeds, in the folder.
    pub fn openssl(&self, arguments: &[&str]) -> bool {
        let mut openssl = Command::new("openssl");
        let output = openssl.current_dir(&self.folder).args(arguments).output();
        output.expect("openssl is installed").status.success()
    }
}
