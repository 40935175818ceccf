//! Where the objects of this user stand on the bus.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use twinseal_client::{ErrorKind, ROOT_PATH};

use crate::failure::Failure;

/// The path of this user's `kind` of object (`trade`, `key`) by its id or by its path.
pub(crate) fn path(kind: &str, name: &str) -> Result<String, Failure> {
    let id = id_of(name);
    if id.len() != 32 || !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        let text = format!("a {kind}'s id is 32 hexadecimal digits: see `twinseal {kind} list`");
        return Err(Failure::new(ErrorKind::InvalidArgument, text));
    }
    // The kernel's word for who we are; the agent has the same from the bus.
    let user = std::fs::metadata("/proc/self").map_err(|e| Failure::file(Path::new("/proc"), e))?;
    Ok(format!("{ROOT_PATH}/u{}/{kind}/{}", user.uid(), id.to_ascii_lowercase()))
}

/// The last part of a path.
pub(crate) fn id_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}
