//! The agent's own files, and what its operator puts among them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::bus::User;

/// What was on an agent's disk at one moment.
#[derive(Debug)]
pub struct SavedDisk(pub(crate) TempDir);

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.is_ok_and(|status| status.success()), "{}", from.display());
}

/// The folder of the agent's own files, and what the operator puts into it.
pub(crate) fn own_dir(folder: &Path) -> PathBuf {
    folder.join("agent")
}

pub(crate) fn install(
    own: &Path,
    services: &[(String, Vec<User>)],
    settings: &str,
    hardware: &str,
) {
    let services_dir = own.join("services.d");
    fs::create_dir_all(&services_dir).expect("a new folder");
    for (name, users) in services {
        let users: Vec<u32> = users.iter().map(|user| user.uid()).collect();
        let file = format!("service = {name:?}\nusers = {users:?}\n");
        fs::write(services_dir.join(format!("{name}.toml")), file).expect("a new file");
    }
    let config = format!(
        "state_dir = {:?}\nstate_key_file = {:?}\nservices_dir = {services_dir:?}\n{settings}\n\
         [hardware]\n{hardware}",
        own.join("state"),
        own.join("state.key"),
    );
    fs::write(own.join("agent.toml"), config).expect("a new file");
    let uid = User::Agent.uid();
    chown(own, Some(uid), Some(uid)).expect("root gives a folder away");
    fs::set_permissions(own, Permissions::from_mode(0o750)).expect("root changes a mode");
}
